"""Renders the containers that fetch adapters before the engine starts.

They run the engine's image, which has the hub's own command, and what the engine has of environment and rights. One
container for each adapter, so that the pod says which one could not be had.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tierwise.api.modeltier import ModelSource
from tierwise.engines.adapters import ADAPTERS, fetched, folder

_AMOUNTS = {"cpu": "1", "memory": "2Gi"}


def fetching_containers(model: ModelSource, engine: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The init containers; none where the engine finds everything itself. `engine`: its container, as rendered."""
    wanted = {"certificates", "home", "huggingface"}
    mounts = [each for each in engine["volumeMounts"] if each["name"] in wanted]
    return [
        {
            "args": [
                "download",
                each.uri.removeprefix("hf://"),
                f"--revision={each.revision}",
                f"--local-dir={folder(model, each)}",
            ],
            "command": ["hf"],
            "env": [dict(variable) for variable in engine["env"] if variable["name"] != "STORAGE_URI"],
            "image": engine["image"],
            "name": f"adapter-{model.adapters.index(each)}",
            "resources": {"limits": dict(_AMOUNTS), "requests": dict(_AMOUNTS)},
            "securityContext": dict(engine["securityContext"]),
            "terminationMessagePolicy": "FallbackToLogsOnError",
            "volumeMounts": [*mounts, {"mountPath": ADAPTERS, "name": "adapters"}],
        }
        for each in fetched(model)
    ]
