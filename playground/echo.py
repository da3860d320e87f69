"""The image playground/http-echo: a small HTTP server for tests (standard library only, starts at once).

GET /            the pod's name, the request's path and headers as JSON
GET /env         the environment
GET /file?PATH   the content of a file
GET /get?URL     what a GET of that URL from inside this container answers
GET /stream      ten chunks, 50 ms apart
GET /healthz     200, or 503 once /fail was called; /ready and /unready turn /readyz
GET /exit?CODE   ends the process with that code
GET /oom         dies as if out of memory
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import sys
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

STATE = {"healthy": True, "ready": True}


class Echo(BaseHTTPRequestHandler):
    """Answers the paths of the module's docstring."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer a GET."""
        path, _, query = self.path.partition("?")
        query = unquote(query)
        name = "echo" if path == "/" else path.strip("/").replace("/", "_")
        handler = getattr(self, f"on_{name}", None)
        if handler is None:
            self.on_echo(query)
        else:
            handler(query)

    do_POST = do_GET

    def answer(self, status: int, body: str) -> None:
        """Send a whole answer."""
        data = body.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def on_echo(self, query: str) -> None:
        """Say who answers."""
        self.answer(
            200,
            json.dumps(
                {
                    "host": socket.gethostname(),
                    "path": self.path,
                    "query": query,
                    "headers": dict(self.headers),
                    "client": self.client_address[0],
                }
            ),
        )

    def on_env(self, _: str) -> None:
        """Show the environment."""
        self.answer(200, json.dumps(dict(os.environ)))

    def on_file(self, query: str) -> None:
        """Show a file."""
        try:
            self.answer(200, Path(query).read_text())
        except OSError as error:
            self.answer(404, str(error))

    def on_get(self, query: str) -> None:
        """Fetch a URL from here."""
        try:
            with urllib.request.urlopen(query, timeout=5) as response:  # noqa: S310 - a test names the URL
                self.answer(response.status, response.read().decode())
        except urllib.error.HTTPError as error:
            self.answer(error.code, error.read().decode())
        except OSError as error:
            self.answer(502, str(error))

    def on_stream(self, _: str) -> None:
        """Send chunks with pauses."""
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for index in range(10):
            chunk = f"chunk {index}\n".encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
            self.wfile.flush()
            time.sleep(0.05)
        self.wfile.write(b"0\r\n\r\n")

    def on_healthz(self, _: str) -> None:
        """Answer the liveness probe."""
        self.answer(200 if STATE["healthy"] else 503, "healthz")

    def on_readyz(self, _: str) -> None:
        """Answer the readiness probe."""
        self.answer(200 if STATE["ready"] else 503, "readyz")

    def on_fail(self, _: str) -> None:
        """Fail the liveness probe from now on."""
        STATE["healthy"] = False
        self.answer(200, "failing")

    def on_ready(self, _: str) -> None:
        """Pass the readiness probe from now on."""
        STATE["ready"] = True
        self.answer(200, "ready")

    def on_unready(self, _: str) -> None:
        """Fail the readiness probe from now on."""
        STATE["ready"] = False
        self.answer(200, "unready")

    def on_exit(self, query: str) -> None:
        """End the process."""
        self.answer(200, "bye")
        self.wfile.flush()
        os._exit(int(query or "0"))

    def on_oom(self, _: str) -> None:
        """Die as the kernel's out-of-memory killer would have it (see the kubelet's container module)."""
        self.answer(200, "bye")
        Path("/dev/termination-log").write_text("OOMKilled\n")
        os._exit(137)

    def log_message(self, format: str, *args: object) -> None:
        """Log a request to standard output."""
        print(format % args, flush=True)


def main() -> int:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(prog="http-echo")
    parser.add_argument("--host", default="0.0.0.0")  # noqa: S104 - a pod has a network of its own
    parser.add_argument("--port", type=int, default=int(os.environ.get("PORT", "8080")))
    parser.add_argument("--ignore-term", action="store_true", help="do not end on SIGTERM")
    options = parser.parse_args()

    def stop(number: int, _: object) -> None:
        print(f"signal {number}", flush=True)
        if not options.ignore_term:
            os._exit(0)

    signal.signal(signal.SIGTERM, stop)
    ThreadingHTTPServer.request_queue_size = 128
    with ThreadingHTTPServer((options.host, options.port), Echo) as server:
        print(f"listening on {options.host}:{options.port}", flush=True)
        server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
