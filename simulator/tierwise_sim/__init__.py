"""Simulates an inference engine under a load on a GPU, without the GPU.

An engine model (`engine`, pure: it is told the time) with continuous batching, paged KV memory, a prefix
cache, admission limits and speculation; a server that puts the OpenAI API and vLLM's metrics in front of it
(`server`); and the load that is sent to it (`workloads`, `load`). The operator is tested against the server,
and replays of whole days run the same engine model in virtual time.
"""
