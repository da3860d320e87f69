"""A pod that exports what is not its own: series of an engine, under the names of another tier's replica."""

from __future__ import annotations

from typing import Any

from tests.cluster.pods import script

# Every other line is an engine's; what a scrape does with labels that the target sets is its own affair.
_CODE = """
import http.server, os
PAGE = os.environ["PAGE"].encode()
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write(PAGE)
    def log_message(self, *_):
        pass
http.server.ThreadingHTTPServer((os.environ["MY_IP"], 8000), Handler).serve_forever()
"""


def page(labels: dict[str, str], requests: float, tokens: int) -> str:
    """A metrics page: so many requests run and wait, under these labels; KV memory for so many tokens, all used."""
    said = ",".join(f'{name}="{value}"' for name, value in {"engine": "0", "model_name": "m", **labels}.items())
    return "\n".join(
        (
            f"vllm:num_requests_running{{{said}}} {requests}",
            f"vllm:num_requests_waiting{{{said}}} {requests}",
            f"vllm:kv_cache_usage_perc{{{said}}} {1.0 if requests else 0.0}",
            f'vllm:cache_config_info{{{said},kv_cache_size_tokens="{tokens}",block_size="16",num_gpu_blocks="9"}} 1',
            "",
        )
    )


def forger(name: str, tier: str, text: str) -> dict[str, Any]:
    """A pod that Prometheus takes for a replica of `tier` (by its labels), with this metrics page."""
    env = [
        {"name": "PAGE", "value": text},
        {"name": "MY_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
    ]
    ports = [{"name": "http", "containerPort": 8000}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "labels": {"app.kubernetes.io/managed-by": "tierwise", "tierwise.io/tier": tier},
        },
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [script(_CODE, env=env, ports=ports)]},
    }
