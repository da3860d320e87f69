"""Options that exclude each other, or a typed field, are found before the engine finds them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.engines.test_refusals import H100, LLAMA_8B, refusal, said
from tierwise import reasons
from tierwise.engines import ModelShape

PLAIN = ["--no-enable-chunked-prefill"]
WHOLE = (
    "extraArgs: --no-enable-chunked-prefill reads a whole prompt at once: raise batching.maxBatchedTokens (8192) to "
    "the context length (32768), or lower contextLength"
)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            {"contextLength": 32768, "extraArgs": PLAIN},
            WHOLE,
        ),
        (
            {"contextLength": 8192, "extraArgs": ["--long-prefill-token-threshold=9000"]},
            "extraArgs: --long-prefill-token-threshold=9000 is more than the context length (8192): lower it",
        ),
        (
            {"extraArgs": ["--max-num-active-seqs=999"]},
            "extraArgs: --max-num-active-seqs=999 is more than batching.maxSequences (128): lower it",
        ),
    ],
)
def test_what_the_scheduler_refuses_at_start(given: dict[str, Any], words: str) -> None:
    found = refusal(**given)
    assert (found.reason, found.message) == (reasons.INVALID_SPEC, words)


def test_what_the_scheduler_takes() -> None:
    assert said(contextLength=8192, extraArgs=PLAIN) == []
    assert said(extraArgs=PLAIN) == []  # nobody knows the context
    assert said(contextLength=9000, extraArgs=["--long-prefill-token-threshold=9000"]) == []
    assert said(extraArgs=["--long-prefill-token-threshold=9000"]) == []
    assert said(extraArgs=["--max-num-active-seqs=128"]) == []


def test_the_context_may_be_the_models_own() -> None:
    assert refusal(shape=LLAMA_8B, extraArgs=PLAIN).reason == reasons.INVALID_SPEC
    long = ModelShape(context_length=16384, default_context=4096)
    assert said(shape=long, extraArgs=PLAIN) == []  # may be 4096
    assert said(shape=long, extraArgs=["--long-prefill-token-threshold=9000"]) == []  # may be 16384
    assert refusal(shape=long, extraArgs=["--long-prefill-token-threshold=20000"]).fatal


def test_a_share_of_nothing_is_no_share() -> None:
    for nothing in ("0.0", "0.00", "0.000"):
        found = refusal(H100, shape=LLAMA_8B, extraArgs=[f"--gpu-memory-utilization={nothing}"])
        assert found.reason == reasons.ARGUMENT_NOT_ALLOWED
    assert said(extraArgs=["--gpu-memory-utilization=0.05"]) == []


def test_a_cache_of_no_bytes_is_none_that_is_fixed() -> None:
    nothing = ["--kv-cache-memory-bytes=0"]
    assert said(H100, shape=LLAMA_8B, contextLength=4096, extraArgs=nothing) == []
    assert said(H100, shape=LLAMA_8B, contextLength=4096, extraArgs=["--kv-cache-memory-bytes=0G"]) == []
