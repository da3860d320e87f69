"""Simulates an inference engine under a load on a GPU, without the GPU.

An engine model (`engine`, pure: it is told the time) with continuous batching, paged KV memory, a prefix
cache, admission limits and speculation; a server that puts the OpenAI API and vLLM's metrics in front of it
(`server`); and the load that is sent to it (`workloads`, `load`). The operator is tested against the server,
and `replay` runs its decisions, the router's choices and many engines in virtual time (`tierwise simulate`).
"""
