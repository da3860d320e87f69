"""Asks a program in another environment: questions and answers are JSON."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent


def ask(python: Path, script: str, *arguments: str, question: Mapping[str, Any]) -> dict[str, Any]:
    """What a judge answers. Fails with what it printed when it does not answer."""
    done = subprocess.run(
        [str(python), "-I", str(HERE / script), *arguments],
        input=json.dumps(question),
        capture_output=True,
        text=True,
        timeout=300,
        env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")},
    )
    if done.returncode != 0:
        raise AssertionError(f"{script} ended with {done.returncode}:\n{done.stderr[-4000:]}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer
