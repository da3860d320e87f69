"""Serves as the fastest engine there can be: fixed answers, so that what is measured is what stands before it.

`python -m tools.bench_router.stub_engine PORT`. It answers what routers ask of vLLM: chat completions (streamed ones as
`chunks` events, `gap_ms` apart, as the body says), /metrics, /health, /v1/models, and vllm-router's /render.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any, cast

import httptools
import uvloop

_WORDS = "the quick brown fox jumps over the lazy dog "
_USAGE = {"prompt_tokens": 512, "completion_tokens": 64, "total_tokens": 576}
_METRICS = b"""\
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="stub"} 1.0
vllm:num_requests_waiting{engine="0",model_name="stub"} 0.0
vllm:kv_cache_usage_perc{engine="0",model_name="stub"} 0.1
vllm:cache_config_info{block_size="16",engine="0",num_gpu_blocks="10000"} 1.0
"""


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _head(kind: str, more: str) -> bytes:
    return f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\n{more}\r\n\r\n".encode()


def _whole(kind: str, body: bytes) -> bytes:
    return _head(kind, f"content-length: {len(body)}") + body


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


_BASE = {"id": "chatcmpl-1", "created": 1, "model": "stub"}
_MESSAGE = {"role": "assistant", "content": _WORDS * 6}
_CHAT = _whole(
    "application/json",
    _json(
        _BASE
        | {
            "object": "chat.completion",
            "choices": [{"index": 0, "message": _MESSAGE, "finish_reason": "stop"}],
            "usage": _USAGE,
        }
    ),
)
_STREAM = _head("text/event-stream; charset=utf-8", "transfer-encoding: chunked")


def _event(delta: dict[str, str], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return b"data: " + _json(_BASE | {"object": "chat.completion.chunk", "choices": [choice]}) + b"\n\n"


_TOKEN = _chunk(_event({"content": " word"}))
_LAST = (
    _chunk(_event({}, "stop"))
    + _chunk(b"data: " + _json(_BASE | {"object": "chat.completion.chunk", "choices": [], "usage": _USAGE}) + b"\n\n")
    + _chunk(b"data: [DONE]\n\n")
    + b"0\r\n\r\n"
)
_MODELS = _whole("application/json", _json({"object": "list", "data": [{"id": "stub", "object": "model"}]}))
_RENDERED = _whole("application/json", _json({"token_ids": list(range(512)), "prompt_token_ids": list(range(512))}))


class StubEngine(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._body = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is open."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Some of a request."""
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        """The path."""
        self._url = url

    def on_body(self, body: bytes) -> None:
        """Some of the body."""
        self._body += body

    def on_message_complete(self) -> None:
        """Answer."""
        body, self._body = self._body, b""
        if self._url == b"/v1/chat/completions":
            if b'"stream":true' in body or b'"stream": true' in body:
                self._begin(json.loads(body))
            else:
                self._write(_CHAT)
        elif self._url.endswith(b"/render"):
            self._write(_RENDERED)
        elif self._url.startswith(b"/metrics"):
            self._write(_whole("text/plain; version=0.0.4", _METRICS))
        elif self._url.startswith(b"/v1/models"):
            self._write(_MODELS)
        else:
            self._write(_whole("application/json", b"{}"))

    def _begin(self, values: dict[str, Any]) -> None:
        self._write(_STREAM + _chunk(_event({"role": "assistant", "content": ""})))
        self._more(int(values.get("chunks", 64)), int(values.get("gap_ms", 0)) / 1000)

    def _more(self, left: int, gap: float) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        if not left:
            self._write(_LAST)
            return
        self._write(_TOKEN)
        asyncio.get_running_loop().call_later(gap, self._more, left - 1, gap)

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)


async def _serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(StubEngine, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
