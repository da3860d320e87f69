"""Makes classifiers for tests: weights that somebody chose, not learned ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from tierwise.routing.classifier import FILE_VERSION, Classifier, CurvePoint, Header, salt_check
from tierwise.routing.text_features import BUCKETS, SIZES, VERSION

WORDS = " ".join(f"word{number * 7919 % 3001}" for number in range(6_000)).encode()


def header(**changes: Any) -> Header:
    """A header of one that knows nothing but the length: its scores are half the standardized length."""
    values: dict[str, Any] = {
        "version": FILE_VERSION,
        "features_version": VERSION,
        "route": "chat",
        "from_tier": "small",
        "reference_tier": "large",
        "labels_hash": "0123456789abcdef",
        "labels": 1000,
        "created_at": "2026-11-29T20:00:00Z",
        "quality_percent": 95,
        "large_share_percent": 40,
        "intercepts": (0.0, 0.0),
        "size_means": (5.0,) + (0.0,) * (len(SIZES) - 1),
        "size_deviations": (1.0,) * len(SIZES),
        "size_weights": ((0.0, 0.0),) * len(SIZES),
        "gain_mean": 0.0,
        "gain_deviation": 1.0,
        "thresholds": tuple(2 - share / 25 for share in range(101)),
        "curve": tuple(
            CurvePoint(share_percent=share, quality_percent=90 + share / 10, lower_percent=88 + share / 10)
            for share in range(0, 101, 2)
        ),
    }
    return Header(**values | changes)


def classifier(salt: bytes = b"", seed: int | None = None, **changes: Any) -> Classifier:
    """A classifier with this header; its weights are random ones of a seed, or nothing."""
    weights = np.zeros((BUCKETS, 2), dtype=np.float32)
    if seed is not None:
        drawn = np.random.default_rng(seed).normal(0, 0.5, (BUCKETS, 2))
        weights = drawn.astype(np.float16).astype(np.float32)
    return Classifier(header(salt_check=salt_check(salt), **changes), weights, salt)
