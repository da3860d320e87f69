"""A judge as a server: it knows arithmetic, errs in planted shares, and may prefer what is shown first.

It reads the two answers out of the chat that it is sent, as a model would, and says its verdict after some reasons.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from json import dumps, loads
from typing import Any

from tierwise_sim.arithmetic import asked, value

PART = re.compile(r"\[([A-Z ,]+)\]\n(.*?)\n\[END OF \1\]", re.DOTALL)


@dataclass
class Judge:
    """`first_share`: so often it prefers what is shown first, whatever is right. `seen`: the prompts of its
    requests."""

    first_share: float = 0.0
    url: str = ""
    seen: list[str] = field(default_factory=list)

    def verdict(self, chat: list[dict[str, Any]]) -> str:
        """A, B or TIE."""
        parts = dict(PART.findall(chat[-1]["content"]))
        self.seen.append(chat[-1]["content"])
        drawn = int.from_bytes(hashlib.sha256(parts["REQUEST"].encode()).digest()[:8], "big") / 2**64
        if drawn < self.first_share:
            return "A"
        right = [self._right(parts["REQUEST"], parts[f"ANSWER {name}"]) for name in "AB"]
        return "TIE" if right[0] == right[1] else "A" if right[0] else "B"

    @staticmethod
    def _right(request: str, answer: str) -> bool:
        expression = asked(request)
        assert expression is not None
        return answer.endswith(f"#### {value(expression)}")


@contextmanager
def judging(judge: Judge) -> Iterator[Judge]:
    """Serve it on a loopback port."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            chat = loads(self.rfile.read(int(self.headers["Content-Length"])))["messages"]
            text = f"I worked it out and compared.\nVERDICT: {judge.verdict(chat)}"
            usage = {"prompt_tokens": sum(len(m["content"]) // 4 for m in chat), "completion_tokens": 12}
            said = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
            body = dumps({"object": "chat.completion", "model": "judge-7b", "choices": [said], "usage": usage}).encode()
            self._answer(body, "application/json")

        def do_GET(self) -> None:
            self._answer(b"", "text/plain")

        def _answer(self, body: bytes, kind: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: the log of a test is its failure."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    judge.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield judge
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
