"""What a router needs is imported before the first request: none waits for a module."""

from __future__ import annotations

import subprocess
import sys


def test_no_request_waits_for_an_import() -> None:
    """The first own threshold once imported 50 ms of modules, in the middle of the traffic."""
    code = """
import sys
from tests.unit.routing.classifiers import classifier
from tierwise.routing.content import ActiveClassifier
from tierwise.routing.text_features import TextFacts
active = ActiveClassifier.of(classifier(), "digest", 50.0)
before = set(sys.modules)
for number in range(1_001):
    active.choose(b"a" * number, TextFacts(system=b"s"), 50.0)
print(sorted(set(sys.modules) - before))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
