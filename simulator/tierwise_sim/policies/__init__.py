"""The autoscalers and budget rules of other projects, as pure policies that a replay asks.

Each follows the project's source as closely as one page allows, with its known flaws, and has a corrected form where
the flaw is the project's own (`docs/baselines.md`). None reads a clock: time comes with what is observed.
"""
