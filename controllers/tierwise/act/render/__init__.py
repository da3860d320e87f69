"""Renders the InferenceService of a tier, and compares it with the live object.

Rendering is pure and byte-stable: the same tier gives the same bytes on every release of Tierwise unless a change is
announced, because every difference in the pod template restarts GPUs. The parts: `inference_service` (the object),
`pod` (what runs in it), `difference` (rendered against live).
"""

from __future__ import annotations

from tierwise.act.render.difference import differences
from tierwise.act.render.inference_service import Scaler, render

__all__ = ["Scaler", "differences", "render"]
