"""Understands requests for /v1/embeddings and builds their answers.

The shapes of vLLM's server (vllm/entrypoints/pooling/embed, 0.33). A vector depends on its text alone and has length 1;
what is near what means nothing. Few numbers, since nobody computes with them.
"""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from tierwise_sim import tokens as text
from tierwise_sim.openai_api import Answering, ApiError, JsonObject, bad_request, usage

DIMENSIONS = 64


def prompts(body: object, answering: Answering) -> list[list[str]]:
    """The tokens of every input. Raises ApiError."""
    if not isinstance(body, Mapping):
        raise bad_request("1 validation error:\n  {'loc': 'body', 'msg': 'Input should be a valid dictionary'}")
    model = body.get("model")
    if model and model not in answering.served_names:
        raise ApiError(404, "NotFoundError", f"The model `{model}` does not exist.", "model")
    if body.get("dimensions") is not None:
        raise bad_request(
            f'Model "{answering.served_names[0]}" does not support matryoshka representation, '
            "changing output dimensions will lead to poor results.",
            "dimensions",
        )
    if body.get("encoding_format", "float") not in ("float", "base64"):
        raise bad_request("encoding_format must be float or base64; others are not simulated", "encoding_format")
    found = [_tokens(one) for one in _inputs(body.get("input"))]
    longest = max(len(one) for one in found)
    if longest > answering.settings.max_model_len:
        raise bad_request(
            f"This model's maximum context length is {answering.settings.max_model_len} tokens. However, you requested "
            f"{longest} tokens in the input for embedding generation. Please reduce the length of the input.",
            "input_tokens",
        )
    return found


def _inputs(given: object) -> Sequence[object]:
    if isinstance(given, str) and given:
        return [given]
    if isinstance(given, list) and given:
        return [given] if isinstance(given[0], int) else given
    raise bad_request("1 validation error:\n  {'loc': 'body.input', 'msg': 'Field required'}", "input")


def _tokens(one: object) -> list[str]:
    if isinstance(one, str) and one:
        return ["<|begin|>", *text.pieces(one)]
    if isinstance(one, list) and one and all(isinstance(token, int) for token in one):
        return [str(token) for token in one]
    raise bad_request("1 validation error:\n  {'loc': 'body.input', 'msg': 'texts or tokens, none empty'}", "input")


def vector(tokens: Sequence[str], seed: int) -> list[float]:
    """The same numbers for the same tokens."""
    rng = text.request_rng(tokens, seed)
    numbers = [rng.gauss(0, 1) for _ in range(DIMENSIONS)]
    length = math.sqrt(sum(number * number for number in numbers))
    packed = struct.pack(f"<{DIMENSIONS}f", *(number / length for number in numbers))
    return list(struct.unpack(f"<{DIMENSIONS}f", packed))


def answer(
    body: Mapping[str, Any], given: Sequence[Sequence[str]], answering: Answering, head: JsonObject
) -> JsonObject:
    """The answer; `head` has its id and when it was made."""
    numbers = [vector(tokens, answering.seed) for tokens in given]
    coded: Sequence[object] = numbers
    if body.get("encoding_format") == "base64":
        coded = [base64.b64encode(struct.pack(f"<{DIMENSIONS}f", *one)).decode() for one in numbers]
    data = [{"index": index, "object": "embedding", "embedding": one} for index, one in enumerate(coded)]
    used = usage(sum(len(tokens) for tokens in given), 0, None)
    return {**head, "object": "list", "model": answering.served_names[0], "data": data, "usage": used}
