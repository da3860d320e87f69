"""The operator, but for one thing: its pods have no drain settings.

What is left is what a plain InferenceService has: no pause before SIGTERM, an engine that drops what is open, and the
cluster's own grace period. The product has no switch for this; the tests of draining need it, to be seen to fail.
"""

from __future__ import annotations

import sys
from typing import Any

from tierwise.act.render import inference_service
from tierwise.act.render.pod import pod_spec
from tierwise_cli.main import main


def undrained(*parts: Any) -> dict[str, Any]:
    """The pod of these `parts` without preStop, --shutdown-timeout and a grace period of its own."""
    pod = pod_spec(*parts)
    del pod["terminationGracePeriodSeconds"]
    (container,) = pod["containers"]
    del container["lifecycle"]
    kept = [argument for argument in container["args"] if not argument.startswith("--shutdown-timeout")]
    assert len(kept) == len(container["args"]) - 1
    container["args"] = kept
    return pod


if __name__ == "__main__":
    vars(inference_service)["pod_spec"] = undrained
    sys.exit(main())
