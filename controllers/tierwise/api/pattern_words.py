"""Says in words what each pattern of the API wants.

The API server answers a pattern with the regular expression alone, which tells nobody what to write. So in the CRD a
pattern becomes a CEL rule of the same expression with a sentence, and where people usually mean something else
(another way to write a flag, a link to a model), the sentence holds what to write instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Words:
    """What a value should be. `hints`: a CEL condition over `self`, and a CEL expression of the sentence for it; the
    first that holds is said. Where none does, or a hint would not fit on a line, `message` is said."""

    message: str
    hints: tuple[tuple[str, str], ...] = ()


_NAME = Words(
    "must be a name of Kubernetes: lower-case letters, digits, '-' and '.', a letter or digit first and last",
    (
        (
            "self.lowerAscii().replace('_', '-').matches(r'^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')",
            "'names of Kubernetes have no capitals and no underscores: write ' + self.lowerAscii().replace('_', '-')",
        ),
    ),
)


def _dashed(end: str) -> str:
    """CEL for the beginning of a sentence that gives a flag anew: what stands before `end`, with dashes."""
    return f"'a flag has dashes, and = before its value: write ' + self.split('{end}')[0].replace('_', '-')"


_MONEY = Words(
    'must be US dollars in quotes, digits with at most one point, e.g. "2.49"',
    (
        (
            r"self.matches(r'^[0-9]+,[0-9]{1,9}$')",
            "'a decimal point, not a comma: write \"' + self.replace(',', '.') + '\"'",
        ),
        (
            r"self.matches(r'^[$] ?[0-9.]+$')",
            "'US dollars without a sign: write \"' + self.replace('$', '').trim() + '\"'",
        ),
    ),
)
_QUANTITY = Words(
    "must be a quantity: a number with at most one unit of m, k, M, G, T, P, Ki, Mi, Gi, Ti, Pi, e.g. 16Gi",
    (
        (
            r"string(self).matches(r'^[0-9.]+ ?[KMGTkmgt]i?[Bb]$')",
            "'Kubernetes writes no B: write ' + string(self).replace(' ', '').replace('B', '').replace('b', '')",
        ),
    ),
)

PATTERNS: dict[str, Words] = {
    r"^[a-z]([-a-z0-9]*[a-z0-9])?$": Words(
        "must be lower-case letters, digits and '-', a letter first, a letter or digit last",
    ),
    r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$": _QUANTITY,
    r"^[0-9]{1,9}(\.[0-9]{1,9})?$": _MONEY,
    r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$": _NAME,
    r"^[-._a-zA-Z0-9]+$": Words("must be a key of a Secret or ConfigMap: letters, digits, '-', '_' and '.'"),
    r"^[0-9]{1,15}(\.[0-9]{1,6})?[KMBT]?$": Words(
        'must be a number of parameters, in quotes, with at most one unit of K, M, B, T, e.g. "8B"',
        ((r"self.matches(r'^[0-9.]+ ?[kmbt]$')", "'write the unit in capitals: ' + self.upperAscii()"),),
    ),
    r"^[A-Za-z0-9][A-Za-z0-9._/-]*$": Words(
        "must be letters, digits, '.', '_', '/' and '-', a letter or digit first",
    ),
    r"^[A-Za-z0-9][A-Za-z0-9._:/-]*$": Words(
        "must be letters, digits, '.', '_', ':', '/' and '-', a letter or digit first",
    ),
    r"^(hf|pvc|s3|gs|oci|https)://[A-Za-z0-9][A-Za-z0-9._/@:%-]*$": Words(
        "must be hf://ORG/REPO, pvc://CLAIM/PATH, s3://BUCKET/PATH, gs://BUCKET/PATH, oci://IMAGE or https://HOST/PATH",
        (
            (
                r"self.matches(r'^[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9._-]+$')",
                "'the scheme is missing: write hf://' + self + ' for a repository of the hub'",
            ),
        ),
    ),
    r"^(hf|pvc)://[A-Za-z0-9][A-Za-z0-9._/-]*$": Words(
        "must be hf://ORG/REPO or pvc://CLAIM/PATH",
        (
            (
                r"self.matches(r'^[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9._-]+$')",
                "'the scheme is missing: write hf://' + self + ' for a repository of the hub'",
            ),
        ),
    ),
    r"^[1-9][0-9]{0,2}(\.[0-9]{1,3})?$": Words('must be a number of 1 or more in quotes, e.g. "4.0"'),
    r"^[1-9][0-9]{0,11}(\.[0-9]{1,3})?$": Words('must be the rope_theta of config.json in quotes, e.g. "1000000"'),
    r"^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$": Words(
        "must be the product as the node label nvidia.com/gpu.product says it, e.g. NVIDIA-L40S",
    ),
    r"^[1-9][0-9]?\.[0-9]$": Words('must be a compute capability in quotes, e.g. "8.9"'),
    r"^[A-Za-z0-9][A-Za-z0-9._/:-]*$": Words(
        "must be letters, digits, '.', '_', '/', ':' and '-', a letter or digit first",
    ),
    r"^0\.(30|32|33)\.[0-9]{1,3}$": Words(
        "must be a vLLM release of 0.30, 0.32 or 0.33 with three numbers, e.g. 0.33.0; for a build of your own name "
        "the release that it is made of, and engine.image",
        (
            (r"self.matches(r'^v0[.](30|32|33)[.][0-9]{1,3}$')", "'a release has no v: write ' + self.substring(1)"),
            (r"self.matches(r'^0[.](30|32|33)$')", "'a release has three numbers: write ' + self + '.0'"),
        ),
    ),
    r"^[a-z0-9][A-Za-z0-9._/:@-]*$": Words(
        "must be a container image without a scheme, e.g. registry.example.com/vllm/vllm-openai:v0.33.0",
    ),
    r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9]([-A-Za-z0-9._]*[A-Za-z0-9])?$": Words(
        "must be DOMAIN/NAME, e.g. nvidia.com/gpu, nvidia.com/mig-1g.10gb or amd.com/gpu",
    ),
    r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$": Words(
        "must be the value of a label: letters, digits, '-', '_' and '.', a letter or digit first and last",
    ),
    r"^https?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?$": Words(
        "must be http:// or https://, a host, and a path without a query, e.g. https://api.example.com/v1",
        (
            (
                r"self.matches(r'^[A-Za-z0-9.-]+[.][a-z]{2,}(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?$')",
                "'the scheme is missing: write https://' + self",
            ),
        ),
    ),
    r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$": Words(
        "must be the name of a label, NAME or DOMAIN/NAME, e.g. nvidia.com/gpu.product",
    ),
    r"^[A-Za-z_][A-Za-z0-9_]*$": Words(
        "must be the name of a variable: letters, digits and '_', no digit first",
        (
            (
                r"self.matches(r'^[A-Za-z_][A-Za-z0-9_-]*$')",
                "'a variable has no dashes: write ' + self.replace('-', '_')",
            ),
        ),
    ),
    r"^/[A-Za-z0-9._/-]+$": Words("must be the whole path of a folder, e.g. /mnt/nvme/models"),
    r"^--[a-z0-9][a-z0-9-]*(=[^\n\r]*)?$": Words(
        "must be one flag with its value, --name=value, its name in lower-case letters, digits and dashes",
        (
            (
                r"self.matches(r'^--[A-Za-z0-9_-]+ +[^=]*$')",
                _dashed(" ") + " + '=' + self.substring(self.indexOf(' ')).trim()",
            ),
            (
                r"self.matches(r'^--[a-z0-9_-]+(=.*)?$')",
                _dashed("=") + " + (self.contains('=') ? self.substring(self.indexOf('=')) : '')",
            ),
            (
                "!self.startsWith('-')",
                "'flag and value are one item of the list: write --name=' + self + ' in place of two'",
            ),
            ("!self.startsWith('--')", "'' + self + ' is a short form: write the whole name, --name=value'"),
        ),
    ),
    r"^-[0-9]{1,2}(\.[0-9]{1,4})?$|^0$": Words(
        'must be a logarithm of a probability in quotes, zero or below, e.g. "-0.5"',
    ),
    r"^[A-Za-z0-9-]+$": Words("must be the name of a header: letters, digits and '-'"),
    r"^[A-Za-z0-9_+/-]+$": Words("must be an IANA name of a time zone, e.g. Europe/Berlin"),
}


def rule_of(pattern: str, *, number_too: bool = False) -> dict[str, str] | None:
    """The CEL rule of a pattern as it stands in a CRD; None for a pattern without words. `number_too`: the value may
    be an integer, of which nothing is asked here."""
    words = PATTERNS.get(pattern)
    if words is None:
        return None
    matches = f"self.matches(r'{pattern}')"
    rule = {
        "rule": f"type(self) == int || {matches}" if number_too else matches,
        "message": words.message,
    }
    if words.hints:
        said = "".join(f"{condition} ? {sentence} : " for condition, sentence in words.hints)
        rule["messageExpression"] = said + _literal(words.message)
    return rule


def _literal(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def worded(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A structural schema in which every pattern with words is a rule."""
    made = dict(schema)
    rule = rule_of(made.get("pattern", ""), number_too=bool(made.get("x-kubernetes-int-or-string")))
    if rule is not None:
        del made["pattern"]
        made["x-kubernetes-validations"] = [*made.get("x-kubernetes-validations", ()), rule]
    if "properties" in made:
        made["properties"] = {name: worded(child) for name, child in made["properties"].items()}
    for inner in ("items", "additionalProperties"):
        if isinstance(made.get(inner), Mapping):
            made[inner] = worded(made[inner])
    return made
