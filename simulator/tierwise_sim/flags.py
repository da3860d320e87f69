"""Parses a `vllm serve` command line.

The same surface as vLLM's own parser: `--flag value` and `--flag=value`, underscores for dashes, `--x` and
`--no-x` for switches, JSON options as one JSON string or key by key (`--speculative-config.method ngram`),
and an unknown option ends the process with status 2 and argparse's message. So a command line that the
operator renders wrongly fails here as it would on a GPU.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Sequence
from typing import Any

from tierwise_sim import flag_table

_SUFFIXED = ("kv-cache-memory-bytes", "max-num-batched-tokens", "max-num-queued-tokens", "max-num-scheduled-tokens")
_SHORT = {
    "tensor-parallel-size": "-tp",
    "pipeline-parallel-size": "-pp",
    "data-parallel-size": "-dp",
    "enable-expert-parallel": "-ep",
    "quantization": "-q",
    "nnodes": "-n",
    "node-rank": "-r",
}
_CHOICES = {
    "dtype": ("auto", "half", "float16", "bfloat16", "float", "float32"),
    "kv-offloading-backend": ("native", "lmcache"),
    "scheduling-policy": ("fcfs", "priority"),
    "performance-mode": ("balanced", "interactivity", "throughput"),
    "prefix-caching-hash-algo": ("sha256", "sha256_cbor", "xxhash", "xxhash_cbor"),
}
_DEFAULTS: dict[str, object] = {
    "host": None,
    "port": 8000,
    "gpu-memory-utilization": 0.92,
    "kv-cache-dtype": "auto",
    "kv-offloading-backend": "native",
    "tensor-parallel-size": 1,
    "pipeline-parallel-size": 1,
    "data-parallel-size": 1,
    "shutdown-timeout": 0,
    "dtype": "auto",
    "seed": 0,
}

_DECIMAL = {"k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_BINARY = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def human_readable_int(value: str) -> int:
    """'4096', '1k' (1,000), '1K' (1,024), '25.6k', as vLLM reads them; argparse reports the ValueError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([kKmMgGtT])", value.strip())
    if match is None:
        return int(value)
    number, suffix = match.groups()
    return int(float(number) * _DECIMAL[suffix]) if suffix in _DECIMAL else int(number) * _BINARY[suffix]


def model_length(value: str) -> int:
    """As `human_readable_int`, and -1 for '-1' or 'auto': the longest that fits."""
    return -1 if value.strip().lower() in ("-1", "auto") else human_readable_int(value)


def port_number(value: str) -> int:
    """A TCP port that vLLM accepts."""
    try:
        port = int(value)
    except ValueError:
        raise argparse.ArgumentTypeError("Port must be an integer") from None
    if not 1024 <= port <= 65535:
        raise argparse.ArgumentTypeError("Port must be between 1024 and 65535")
    return port


class _Switch(argparse.BooleanOptionalAction):
    """`--enable-x` with `--no-enable-x` and, from 0.33 on, `--disable-x` as well (and the other way round)."""

    def __init__(self, option_strings: Sequence[str], dest: str, **options: Any) -> None:
        super().__init__(option_strings, dest, **options)
        pairs = {"--enable-": "--disable-", "--disable-": "--enable-"}
        inverse = [
            pairs[prefix] + name.removeprefix(prefix)
            for name in option_strings
            for prefix in pairs
            if name.startswith(prefix)
        ]
        self.negative = {*inverse, *(name for name in self.option_strings if name not in option_strings)}
        self.option_strings = [*self.option_strings, *inverse]

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        setattr(namespace, self.dest, option_string not in self.negative)


def _release(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2])


def known_options(version: str) -> frozenset[str]:
    """Option names (without dashes) of a vLLM release such as "0.32.0"."""
    release = _release(version)
    names = flag_table.SWITCHES | flag_table.INTEGERS | flag_table.NUMBERS | flag_table.LISTS | flag_table.TEXTS
    if release < (0, 33):
        names -= flag_table.SINCE_0_33
    if release < (0, 32):
        return names - flag_table.SINCE_0_32
    return names - flag_table.GONE_IN_0_32


def _add(parser: argparse.ArgumentParser, name: str, switch: type[argparse.Action]) -> None:
    flags = [f"--{name}"] + ([_SHORT[name]] if name in _SHORT else [])
    options: dict[str, Any] = {"default": _DEFAULTS.get(name), "choices": _CHOICES.get(name)}
    if name in flag_table.SWITCHES:
        options = {"action": switch, "default": _DEFAULTS.get(name)}
    elif name in flag_table.INTEGERS:
        options["type"] = human_readable_int if name in _SUFFIXED else int
    elif name in flag_table.NUMBERS:
        options["type"] = float
    elif name in flag_table.LISTS:
        options["nargs"] = "+"
    if name == "max-model-len":
        options["type"] = model_length
    elif name == "port":
        options["type"] = port_number
    parser.add_argument(*flags, **options)


def build_parser(version: str) -> argparse.ArgumentParser:
    """The `vllm` command's parser for one release, with the one subcommand that is simulated."""
    parser = argparse.ArgumentParser(prog="vllm", description="vLLM CLI (simulated engine)", allow_abbrev=False)
    parser.add_argument("-v", "--version", action="version", version=version)
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser("serve", allow_abbrev=False, help="serve a model over the OpenAI API")
    serve.add_argument("model_tag", nargs="?", default=None)
    switch = _Switch if _release(version) >= (0, 33) else argparse.BooleanOptionalAction
    for name in sorted(known_options(version)):
        _add(serve, name, switch)
    serve.add_argument("-O", dest="optimization_level_short", default=None, help=argparse.SUPPRESS)
    return parser


def _normalise(arguments: Sequence[str]) -> list[str]:
    """Underscores of option names to dashes; dotted JSON options gathered into one JSON value each."""
    plain: list[str] = []
    gathered: dict[str, dict[str, Any]] = {}
    queue = list(arguments)
    while queue:
        argument = queue.pop(0)
        if not argument.startswith("--"):
            plain.append(argument)
            continue
        name, equals, value = argument.partition("=")
        head, dot, rest = name.partition(".")
        head = head.replace("_", "-")
        if not dot:
            plain.append(head + equals + value)
            continue
        text = value if equals else (queue.pop(0) if queue else "")
        try:
            parsed = json.loads(text)
        except json.JSONDecodeError:
            parsed = text
        target = gathered.setdefault(head, {})
        *path, last = rest.split(".")
        for key in path:
            target = target.setdefault(key, {})
        target[last] = parsed
    for head, value_map in sorted(gathered.items()):
        plain += [head, json.dumps(value_map)]
    return plain


def parse(arguments: Sequence[str], version: str) -> argparse.Namespace:
    """Parse the arguments after the program name; exits with status 2 on anything vLLM would refuse."""
    parser = build_parser(version)
    options = parser.parse_args(_normalise(arguments))
    options.model = options.model_tag or options.model or "Qwen/Qwen3-0.6B"
    for name in ("speculative_config", "kv_transfer_config", "compilation_config", "custom_histogram_buckets"):
        value = getattr(options, name, None)
        if isinstance(value, str):
            try:
                setattr(options, name, json.loads(value))
            except json.JSONDecodeError as error:
                flag = "--" + name.replace("_", "-")
                parser.error(f"argument {flag}: Value {value} cannot be converted to JSON ({error})")
    return options
