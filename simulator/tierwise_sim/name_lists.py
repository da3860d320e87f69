"""Refuses names and values of variables that the simulated release does not have, in vLLM's own words.

As vLLM does it, and in its order: the backends of layers by argparse, a tool parser before anything is loaded
(`validate_api_server_args`), an attention backend when its configuration is built, and a reasoning parser at the end of
that (`ReasoningConfig.initialize_token_ids`): `validate_api_server_args` knows it only from a JSON of
`--structured-outputs-config` (vLLM 0.30 and 0.32, started with such a name: tests/vllm/startable.yaml). The lists are
Tierwise's own, so both refuse the same.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping

from tierwise_sim.settings import StartupError

_OPTIONS = ("attention_backend", "linear_backend", "moe_backend", "reasoning_parser", "tool_call_parser")


# Of every engine, and none of them takes a value from a list.
_USUAL = frozenset(
    {
        "VLLM_ENABLE_RESPONSES_API_STORE",
        "VLLM_ENGINE_READY_TIMEOUT_S",
        "VLLM_HTTP_TIMEOUT_KEEP_ALIVE",
        "VLLM_MEDIA_URL_ALLOW_REDIRECTS",
        "VLLM_NO_USAGE_STATS",
    }
)


def refuse_unknown_values(environment: Mapping[str, str], version: str) -> None:
    """Raise StartupError for the first variable whose value this release (such as "0.32.0") does not take: vLLM reads
    all of them while it starts."""
    given = {name for name in environment if name.startswith("VLLM_") or name == "CMAKE_BUILD_TYPE"} - _USUAL
    if not given:
        return
    from tierwise.engines.closed_variables import choices_of

    major, minor = (int(part) for part in version.split(".")[:2])
    for name, known in choices_of((major, minor)).items():
        value = environment.get(name)
        if value is not None and not known.takes(value):
            options = list(known.values)
            raise StartupError(f"ValueError: Invalid value '{value}' for {name}. Valid options: {options}.")


def refuse_unknown_names(options: argparse.Namespace, version: str) -> None:
    """Raise StartupError for the first name that this release (such as "0.32.0") does not have."""
    given = {name: value for name in _OPTIONS if (value := getattr(options, name, None))}
    if not options.enable_auto_tool_choice:
        given.pop("tool_call_parser", None)  # it is not looked up then
    if not given:
        return
    # An engine without such an option, as most are, starts half a second sooner without this.
    from tierwise.engines.closed_lists import known_name, known_names

    major, minor = (int(part) for part in version.split(".")[:2])
    for name in ("moe_backend", "linear_backend", "tool_call_parser", "attention_backend", "reasoning_parser"):
        option, value = "--" + name.replace("_", "-"), given.get(name)
        if value is not None and not known_name(option, (major, minor), value):
            _refuse(option, value, known_names(option, (major, minor)))


def _refuse(option: str, value: str, names: tuple[str, ...]) -> None:
    if option == "--attention-backend":
        known = ", ".join(names)
        text = f"Value error, Unknown attention backend: '{value.upper()}'. Valid options are: {known}"
        raise StartupError(
            f"pydantic_core._pydantic_core.ValidationError: 1 validation error for AttentionConfig\n{text}"
        )
    if option in ("--linear-backend", "--moe-backend"):
        word, known = value.lower().replace("-", "_"), ", ".join(repr(name) for name in names)
        said = f"argument {option}: invalid choice: {word!r} (choose from {known})"
        raise StartupError(f"vllm serve: error: {said}", exit_code=2)
    if option == "--tool-call-parser":
        raise StartupError(f"KeyError: 'invalid tool call parser: {value} (chose from {{ {','.join(names)} }})'")
    said = f"Reasoning parser {value!r} not found. Available parsers: {', '.join(names)}"
    raise StartupError(f'KeyError: "{said}"')
