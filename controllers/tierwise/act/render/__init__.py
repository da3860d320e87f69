"""Renders the InferenceService of a tier and what a route is made of, and compares them with the live objects.

Rendering is pure and byte-stable: the same tier gives the same bytes on every release of Tierwise unless a change is
announced, because every difference in the pod template restarts GPUs. The parts: `inference_service` (the object),
`pod` (what runs in it), `router` (the objects of a route), `difference` (rendered against live).
"""

from __future__ import annotations

from tierwise.act.render.difference import differences, lacking
from tierwise.act.render.inference_service import Scaler, render
from tierwise.act.render.router import RouterParts, child_name, render_router

__all__ = ["RouterParts", "Scaler", "child_name", "differences", "lacking", "render", "render_router"]
