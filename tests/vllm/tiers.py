"""Defines the tiers of the tests with the real engine, and waits for an engine that really loads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import openai

from playground.handle import Playground
from tests.cluster.kubectl import Kubectl, Object
from tests.vllm.environment import image

CLAIM = "models"
READY_SECONDS = 600.0  # 30 to 60 s on a quiet machine
ANSWER_SECONDS = 600.0


def namespace(name: str) -> Object:
    """A namespace that admits restricted pods only."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def claim() -> Object:
    """The claim that holds the models."""
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": CLAIM}, "spec": spec}


def tier(name: str, model: str, release: str = "0.32", **spec: Any) -> Object:
    """A ModelTier of one of the tiny models on no GPU; `spec` replaces fields."""
    return {
        "apiVersion": "tierwise.io/v1alpha1",
        "kind": "ModelTier",
        "metadata": {"name": name},
        "spec": {
            "model": {"name": name, "uri": f"pvc://{CLAIM}/{model}"},
            "engine": {"version": f"{release}.0", "image": image(release)},
            "resources": {"gpus": 0, "cpu": "1", "memory": "4Gi"},
            "contextLength": 2048,
            "batching": {"maxSequences": 8, "maxBatchedTokens": 2048},
            "drainSeconds": 600,
            **spec,
        },
    }


def base_url(kubectl: Kubectl, name: str) -> str:
    """The tier's Service, as KServe made it."""
    return f"http://{name}-predictor.{kubectl.namespace}.svc"


@contextmanager
def client(playground: Playground, kubectl: Kubectl, name: str) -> Iterator[openai.OpenAI]:
    """The official client, connected to a tier's Service."""
    with (
        httpx2.Client(proxy=playground.proxy_url, timeout=ANSWER_SECONDS) as through,
        openai.OpenAI(
            base_url=f"{base_url(kubectl, name)}/v1", api_key="none", http_client=through, max_retries=0
        ) as made,
    ):
        yield made


def cycle(tokens: int) -> str:
    """What every model of make_models.py says, whatever it is asked."""
    return ("abcdefgh" * (tokens // 8 + 1))[:tokens]
