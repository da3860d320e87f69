"""Checks what the engine looks up in a list of its own: parsers and backends in extra arguments, values of variables.

A name that the release does not have ends the engine at its start. With the engine's own image that is certain; another
image may have been built with more, so there it is advice.
"""

from __future__ import annotations

from difflib import get_close_matches

from tierwise.api.modeltier import ModelTierSpec
from tierwise.engines import arg_values
from tierwise.engines.closed_lists import WHAT, known_name, known_names
from tierwise.engines.closed_variables import choices_of
from tierwise.engines.finding import Finding
from tierwise.engines.profiles import Profile
from tierwise.reasons import NAME_UNKNOWN, UNSUPPORTED

_TOOLS = "--tool-call-parser"  # only looked up when tools are chosen by the model
_NEAR, _ALIKE = 3, 0.5


def check_names(spec: ModelTierSpec, release: Profile) -> list[Finding]:
    """What is wrong with the names in `extraArgs` and the values in `env`: one finding for each unknown one, by option
    and by variable."""
    return [*_arguments(spec, release), *_variables(spec, release)]


def _variables(spec: ModelTierSpec, release: Profile) -> list[Finding]:
    """Only values that stand in the spec: what a Secret or a ConfigMap holds is not read."""
    if not spec.env:  # as of most tiers, each of which is checked in turn
        return []
    choices, found = choices_of(release.minor), []
    for variable in sorted(spec.env, key=lambda each: each.name):
        known = choices.get(variable.name)
        if known is None or variable.value is None or known.takes(variable.value):
            continue
        said = (
            f"env: {variable.name}={variable.value}: {release.engine} {release.release} takes "
            f"{'some of' if known.several else 'one of'} {', '.join(known.values)}"
        )
        if spec.engine.image is None:
            found.append(Finding(UNSUPPORTED, said))
        else:
            found.append(Finding(NAME_UNKNOWN, f"{said}; {spec.engine.image} must take it", fatal=False))
    return found


def _arguments(spec: ModelTierSpec, release: Profile) -> list[Finding]:
    found = []
    for option in sorted(WHAT):
        name = arg_values.value(spec.extra_args, option)
        if not name or known_name(option, release.minor, name):
            continue
        said = f"extraArgs: {option}={name}: {release.engine} {release.release} has no {WHAT[option]} of this name"
        near = _nearest(name, known_names(option, release.minor))
        said += f"; it has {', '.join(near)}" if near else ""
        said += "; docs/engines.md lists all"
        looked_up = option != _TOOLS or arg_values.has(spec.extra_args, "--enable-auto-tool-choice")
        if spec.engine.image is None and looked_up:
            found.append(Finding(UNSUPPORTED, said))
        elif looked_up:
            found.append(Finding(NAME_UNKNOWN, f"{said}; {spec.engine.image} must have it", fatal=False))
        else:
            found.append(
                Finding(NAME_UNKNOWN, f"{said}; without --enable-auto-tool-choice it does nothing", fatal=False)
            )
    return found


def _nearest(name: str, names: tuple[str, ...]) -> list[str]:
    """Those that people may have meant: the same beginning first, then those that are written alike."""
    begins = [each for each in names if each.startswith(name)]
    alike = [each for each in get_close_matches(name, names, _NEAR, _ALIKE) if each not in begins]
    return [*begins, *alike][:_NEAR]
