"""Writes the CRDs from the models of the kinds: crds/ and charts/tierwise-crds.

python -m tools.crds [--check] [--root DIR]
"""

from __future__ import annotations

import sys

from tierwise.api.crd import files
from tools.generated import main

if __name__ == "__main__":
    sys.exit(main("python -m tools.crds", files()))
