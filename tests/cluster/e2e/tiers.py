"""Defines the tiers of the end-to-end tests: small ones whose load can be computed beforehand."""

from __future__ import annotations

from typing import Any

UNINSTALLED = "leaving"
"""The namespace whose test takes the operator away, and its rights before it has ended."""
L4 = {"nvidia.com/gpu.product": "NVIDIA-L4"}
CPU_IMAGE = "vllm/vllm-openai-cpu:v0.33.0"


def tier(name: str, **spec: Any) -> dict[str, Any]:
    """A ModelTier of an 8B model in FP8 on one L4; `spec` replaces fields (None removes one)."""
    fields: dict[str, Any] = {
        "model": {"name": name, "uri": "hf://Qwen/Qwen3-8B"},
        "quantization": {"method": "fp8_per_tensor"},
        "resources": {"gpus": 1, "cpu": "1", "memory": "2Gi"},
        "contextLength": 8192,
        "batching": {"maxSequences": 16},
        "placement": {"nodeSelector": L4},
        "drainSeconds": 5,
        "price": {"gpuHour": "0.80"},
        **spec,
    }
    present = {field: value for field, value in fields.items() if value is not None}
    return {
        "apiVersion": "tierwise.io/v1alpha1",
        "kind": "ModelTier",
        "metadata": {"name": name},
        "spec": present,
    }


def cheap(name: str, **spec: Any) -> dict[str, Any]:
    """A tier without GPUs or a node of its own kind, so that twenty of them fit."""
    fields = {"resources": {"gpus": 0, "cpu": "100m", "memory": "512Mi"}, "placement": None, **spec}
    fields["engine"] = {"image": CPU_IMAGE, **fields.get("engine", {})}
    return tier(name, **fields)


def external(name: str) -> dict[str, Any]:
    """A ModelTier that somebody else serves."""
    return {
        "apiVersion": "tierwise.io/v1alpha1",
        "kind": "ModelTier",
        "metadata": {"name": name},
        "spec": {
            "external": {
                "baseURL": "https://api.example.com/v1",
                "model": "frontier",
                "apiKeySecretRef": {"name": "api-key"},
                "prices": {"input": "2.50", "output": "10.00"},
            }
        },
    }


def route(name: str, *tiers: str, **spec: Any) -> dict[str, Any]:
    """A ModelRoute over these tiers, cheapest first; `spec` adds fields."""
    return {
        "apiVersion": "tierwise.io/v1alpha1",
        "kind": "ModelRoute",
        "metadata": {"name": name},
        "spec": {"tiers": [{"name": each} for each in tiers], "drainSeconds": 60, **spec},
    }
