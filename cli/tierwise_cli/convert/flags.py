"""Carries the flags of vLLM over into the fields of a tier.

A flag with a field of its own goes there; one of the allow-list becomes an item of extraArgs; every other one is in the
list with the reason that the operator's own tables give for it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import get_args

from tierwise.api.modeltier import KVCacheDtype, QuantizationMethod
from tierwise.engines.denied_args import CLOSED
from tierwise.engines.extra_args import ALLOWED, REFUSED, TYPED, check_extra
from tierwise.engines.profiles import Profile
from tierwise_cli.convert import adapters
from tierwise_cli.convert.draft import Draft
from tierwise_cli.convert.words import Flag

EXTRA_ARGUMENTS = 16
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:-]*")
_UNITS = {"k": 1000, "K": 1024, "m": 10**6, "M": 2**20, "g": 10**9, "G": 2**30}
_OLD_METHODS = {"awq_marlin": "awq", "gptq_marlin": "gptq", "compressed_tensors": "compressed-tensors"}
_TEMPLATE = {"--chat-template": "put the template into a ConfigMap and name it in model.chatTemplate"}
# What KServe's own runtime understands besides the engine's flags.
_KSERVE = {
    "--backend": "a tier is served by vLLM",
    "--task": "a tier generates text",
    "--disable-log-requests": "requests are never logged",
    "--max-length": "use contextLength",
    "--http-port": "the port is fixed: Service, probes and metrics use it",
    "--enable-docs-url": "the paths are fixed",
}


def whole_number(text: str) -> int | None:
    """An integer as vLLM reads it, e.g. "32k", "32K", "1.5M"; None for anything else."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([kKmMgG]?)", text)
    if match is None:
        return None
    number, unit = match.groups()
    if "." in number and (not unit or unit.isupper()):
        return None
    return int(float(number) * _UNITS.get(unit, 1))


def carry(flag: Flag, draft: Draft, profile: Profile) -> None:
    """Put one flag into the tier or into the list."""
    handler = _FIELDS.get(flag.name)
    if handler is not None:
        why = handler(flag, draft)
        if why:
            draft.drop(flag.shown, flag.value or "set", why)
    elif flag.name in ALLOWED:
        _extra(flag, draft, profile)
    else:
        draft.drop(flag.shown, " ".join(flag.values) or "set", refused(flag.name, profile))


def refused(name: str, profile: Profile) -> str:
    """Why a flag is no part of a tier, and what to do instead."""
    if name in _TEMPLATE:
        return _TEMPLATE[name]
    for table in (_KSERVE, REFUSED, CLOSED, TYPED):
        if name in table:
            return table[name]
    if name in profile.removed_flags:
        return f"vLLM {profile.release} does not have it any more: {profile.removed_flags[name]}"
    return f"vLLM {profile.release} has no such option, or nobody has looked at it yet"


def _extra(flag: Flag, draft: Draft, profile: Profile) -> None:
    switch = ALLOWED[flag.name].value == "switch"
    item = flag.name if switch and flag.value.lower() in ("", "true") else f"{flag.name}={flag.value}"
    given = [each for each in draft.get("extraArgs", []) if each.partition("=")[0] != flag.name]
    # One that needs another is complained of until that has come: `tierwise convert` checks the whole at the end.
    complaints = [each for each in check_extra((item,), profile) if "needs --" not in each.message]
    if complaints:
        draft.drop(flag.shown, flag.value or "set", complaints[0].message.removeprefix("extraArgs: "))
    elif len(given) >= EXTRA_ARGUMENTS:
        draft.drop(flag.shown, flag.value or "set", f"extraArgs holds at most {EXTRA_ARGUMENTS}")
    else:
        draft.spec["extraArgs"] = [*given, item]


def _number(path: str) -> Callable[[Flag, Draft], str]:
    def handle(flag: Flag, draft: Draft) -> str:
        number = whole_number(flag.value)
        if number is None:
            return f"{path} is a number: write one"
        draft.put(path, number, flag.written)
        return ""

    return handle


def _context(flag: Flag, draft: Draft) -> str:
    if flag.value in ("-1", "auto"):
        return "the engine would choose what fits; contextLength without a value is what the model was trained for"
    return _number("contextLength")(flag, draft)


def _quantization(flag: Flag, draft: Draft) -> str:
    method = _OLD_METHODS.get(flag.value, flag.value)
    if method not in get_args(QuantizationMethod):
        return f"quantization.method does not have {flag.value}; it has: {', '.join(get_args(QuantizationMethod))}"
    draft.put("quantization.method", method, flag.written)
    if method == "fp8":
        return "carried over as the format of the checkpoint; one that is not quantized takes fp8_per_tensor"
    return ""


def _kv_dtype(flag: Flag, draft: Draft) -> str:
    if flag.value not in get_args(KVCacheDtype):
        return f"quantization.kvCacheDtype does not have {flag.value}; it has: {', '.join(get_args(KVCacheDtype))}"
    draft.put("quantization.kvCacheDtype", flag.value, flag.written)
    return ""


def _prefix(state: str, otherwise: str) -> Callable[[Flag, Draft], str]:
    def handle(flag: Flag, draft: Draft) -> str:
        draft.put("caching.prefix", otherwise if flag.value.lower() == "false" else state, flag.written)
        return ""

    return handle


def _offload(flag: Flag, draft: Draft) -> str:
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]*)?", flag.value):
        return "caching.kvOffloadGiB is a number of GiB: write one"
    size = float(flag.value)
    draft.put("caching.kvOffloadGiB", round(size), flag.written)
    return "" if size == round(size) else f"rounded to {round(size)} GiB"


def _model(flag: Flag, draft: Draft) -> str:
    return model(flag.value, draft, flag.written)


def model(named: str, draft: Draft, where: str) -> str:
    """Put a model's name, as vLLM takes it, into model.uri; why not, where that cannot be done."""
    if draft.get("model.uri"):
        return "" if named in ("/mnt/models", draft.get("model.uri")) else "the model is named twice; model.uri is kept"
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?", named):
        draft.put("model.uri", f"hf://{named}", where)
    elif re.match(r"^(s3|gs)://", named):
        draft.put("model.uri", named.rstrip("/"), where)
    else:
        return "a tier's weights are hf://, pvc://, s3://, gs:// or oci://: put the folder on a claim, pvc://CLAIM/PATH"
    return ""


def _names(flag: Flag, draft: Draft) -> str:
    names = [part for value in flag.values for part in value.split(",")] if len(flag.values) == 1 else list(flag.values)
    if not names:
        return "no name was given"
    first, *others = names
    if not _NAME.fullmatch(first):
        return "model.name is letters, digits and . _ / : -: clients must be told of another"
    draft.put("model.name", first, flag.written)
    for other in others:
        if _NAME.fullmatch(other) and other not in (first, "tierwise", "None"):
            draft.put("model.aliases", [*draft.get("model.aliases", []), other], flag.shown)
        else:
            draft.drop(flag.shown, other, "model.aliases are other names of letters, digits and . _ / : -")
    return ""


def _revision(flag: Flag, draft: Draft) -> str:
    draft.put("model.revision", flag.value, flag.written)
    return ""


def _speculation(flag: Flag, draft: Draft) -> str:
    try:
        config = json.loads(flag.value)
        method, tokens = config.get("method"), config.get("num_speculative_tokens")
    except (ValueError, AttributeError):
        return "it is no JSON object; use speculation"
    known = {"ngram", "draft_model", "eagle", "eagle3", "mtp", "suffix", "medusa", "mlp_speculator"}
    method = "draft_model" if method is None and config.get("model") else method
    if method not in known:
        return f"speculation.method does not have {method}; it has: {', '.join(sorted(known))}"
    draft.put("speculation.mode", "Enabled", flag.written)
    draft.put("speculation.method", method, flag.written)
    if config.get("model"):
        draft.put("speculation.draftModel", config["model"], flag.written)
    if isinstance(tokens, int):
        draft.put("speculation.tokens", tokens, flag.written)
    for key in sorted(set(config) - {"method", "model", "num_speculative_tokens"}):
        draft.drop(f"--speculative-config {key}", config[key], "speculation has no field for it")
    return ""


def _grace(flag: Flag, draft: Draft) -> str:
    return _number("drainSeconds")(flag, draft)


def _trusted(flag: Flag, draft: Draft) -> str:
    if flag.value.lower() == "false" or not draft.put("model.trustRemoteCode", "Enabled", flag.written):
        return ""
    return "carried over; the chart value engines.trustRemoteCode must allow it"


_FIELDS: dict[str, Callable[[Flag, Draft], str]] = {
    "--disable-prefix-caching": _prefix("Disabled", "Enabled"),
    "--enable-prefix-caching": _prefix("Enabled", "Disabled"),
    "--kv-cache-dtype": _kv_dtype,
    "--kv-offloading-size": _offload,
    "--max-length": _context,
    "--max-model-len": _context,
    "--max-num-batched-tokens": _number("batching.maxBatchedTokens"),
    "--max-num-queued-reqs": _number("batching.maxQueuedRequests"),
    "--max-num-seqs": _number("batching.maxSequences"),
    "--model": _model,
    "--model-id": _model,
    "--model-name": _names,
    "--model-revision": _revision,
    "--no-enable-prefix-caching": _prefix("Disabled", "Enabled"),
    "--pipeline-parallel-size": _number("parallelism.pipeline"),
    "--quantization": _quantization,
    "--revision": _revision,
    "--served-model-name": _names,
    "--shutdown-timeout": _grace,
    "--speculative-config": _speculation,
    "--tensor-parallel-size": _number("parallelism.tensor"),
    "--trust-remote-code": _trusted,
    **adapters.FIELDS,
}
