"""What KServe's storage initializer leaves behind, without a download (standard library only).

The real one is called with pairs SOURCE TARGET and fills each target folder with the model's files. This one
writes a config.json that names the source, so that a container can show where its model came from.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main(arguments: list[str]) -> int:
    """Write one marker per pair of arguments; 1 if they do not pair up."""
    if not arguments or len(arguments) % 2:
        print("usage: storage-initializer SOURCE TARGET [SOURCE TARGET ...]", file=sys.stderr)
        return 1
    for source, target in zip(arguments[::2], arguments[1::2], strict=True):
        folder = Path(target)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps({"source": source}) + "\n")
        print(f"{source} stands in {target}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
