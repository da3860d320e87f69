"""Draws specs that a user may write, by Hypothesis, from the API's own patterns and bounds."""

from __future__ import annotations

from typing import Any, get_args

from hypothesis import strategies as st

from tierwise.api.modeltier import KVCacheDtype, QuantizationMethod
from tierwise.api.pod import OPENING_VARIABLES, OWN_VARIABLES, RESERVED_KEYS
from tierwise.engines.extra_args import ALLOWED, JSON, REFUSED, SWITCH, TYPED

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._/:-]{0,40}", fullmatch=True)
REPOSITORIES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}/[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True).filter(
    lambda name: ".." not in name
)
PLACES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,40}", fullmatch=True).filter(lambda name: ".." not in name)
URIS = st.one_of(
    REPOSITORIES.map(lambda name: f"hf://{name}"),
    st.from_regex(r"(pvc|s3|gs|oci|https)://[A-Za-z0-9][A-Za-z0-9._/@:%-]{0,60}", fullmatch=True).filter(
        lambda uri: ".." not in uri
    ),
)
DNS = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?", fullmatch=True)
QUANTITIES = st.from_regex(r"[1-9][0-9]{0,3}(\.[0-9]{1,3})?(m|k|M|G|T|Ki|Mi|Gi|Ti)?", fullmatch=True)
VERSIONS = st.sampled_from(["0.30.0", "0.30.7", "0.32.0", "0.33.0", "0.33.12"])
METHODS = ("ngram", "draft_model", "eagle", "eagle3", "mtp", "suffix", "medusa", "mlp_speculator")


def _some(required: dict[str, st.SearchStrategy[Any]], **optional: st.SearchStrategy[Any]) -> Any:
    return st.fixed_dictionaries(required, optional=optional)


def _allowed() -> st.SearchStrategy[str]:
    def one(name: str) -> st.SearchStrategy[str]:
        value = ALLOWED[name].value
        if value == SWITCH:
            return st.just(name)
        if value == JSON:
            return st.just(f"{name}={ALLOWED[name].example}")
        return st.from_regex(value, fullmatch=True).map(lambda text: f"{name}={text}")

    return st.one_of([one(name) for name in sorted(ALLOWED)])


def _written() -> st.SearchStrategy[str]:
    known = st.sampled_from(sorted({*ALLOWED, *TYPED, *REFUSED}))
    values = st.one_of(
        st.sampled_from(["", "1", "x --port=1", "$(HF_TOKEN)", "a;b", "`id`", '{"a":1}', "--host=0.0.0.0", "a\u2028b"]),
        st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=40),
    )
    assigned = st.builds(lambda name, value: f"{name}={value}", known, values)
    free = st.from_regex(r"--[a-z0-9][a-z0-9-]{0,30}(=[^\n\r]{0,30})?", fullmatch=True)
    return st.one_of(ALLOWED_ARGUMENTS, known, assigned, free)


# One argument of the allow-list, with a value that its pattern accepts.
ALLOWED_ARGUMENTS = _allowed()
# One argument that the API lets pass: allowed ones, closed ones, and whatever somebody thinks of.
WRITTEN_ARGUMENTS = _written()


def _schedule() -> st.SearchStrategy[list[dict[str, int]]]:
    starts = st.lists(st.integers(2, 4096), unique=True, max_size=7).map(lambda rest: [1, *sorted(rest)])
    tokens = st.lists(st.integers(0, 16), min_size=8, max_size=8)
    return st.builds(
        lambda s, t: [{"fromBatch": start, "tokens": count} for start, count in zip(s, t, strict=False)], starts, tokens
    )


@st.composite
def _speculation(draw: st.DrawFn) -> dict[str, Any]:
    method = draw(st.sampled_from(METHODS))
    written: dict[str, Any] = {"mode": draw(st.sampled_from(["Disabled", "Enabled", "Auto"])), "method": method}
    if method in METHODS[1:4] or draw(st.booleans()):
        written["draftModel"] = draw(REPOSITORIES)
    if draw(st.booleans()):
        written["tokens"] = draw(st.integers(1, 16))
    elif draw(st.booleans()):
        written["schedule"] = draw(_schedule())
    return written


@st.composite
def _batching(draw: st.DrawFn) -> dict[str, Any]:
    sequences = draw(st.integers(1, 4096))
    tokens = draw(st.integers(max(32, sequences), 1048576))
    written = {"maxSequences": sequences, "maxBatchedTokens": tokens}
    return written | ({"maxQueuedRequests": draw(st.integers(1, 100000))} if draw(st.booleans()) else {})


KEYS = st.from_regex(r"([a-z]{1,8}\.example\.com/)?[a-z]{4,9}", fullmatch=True).filter(
    lambda key: key not in RESERVED_KEYS
)
_REF = _some({"name": DNS, "key": DNS})
_VARIABLE_NAMES = st.from_regex(r"[A-Z]{2,5}_[A-Z]{2,9}", fullmatch=True).filter(
    lambda name: name not in OWN_VARIABLES and name not in OPENING_VARIABLES
)
VARIABLES = st.one_of(
    st.fixed_dictionaries(
        {"name": _VARIABLE_NAMES, "value": st.text(max_size=20).filter(lambda text: "$(" not in text)}
    ),
    st.fixed_dictionaries({"name": _VARIABLE_NAMES, "secretKeyRef": _REF}),
    st.fixed_dictionaries({"name": _VARIABLE_NAMES, "configMapKeyRef": _REF}),
)


def _above(name: str) -> st.SearchStrategy[dict[str, str]]:
    """A request and a limit that is not below it, now and then."""
    whole = st.integers(1, 500)
    both = st.builds(lambda a, b: {name: f"{min(a, b)}Gi", f"{name}Limit": f"{max(a, b)}Gi"}, whole, whole)
    return st.one_of(st.just({}), both)


_EXPRESSIONS = st.lists(
    st.one_of(
        _some(
            {"key": KEYS, "operator": st.sampled_from(["In", "NotIn"]), "values": st.lists(DNS, min_size=1, max_size=3)}
        ),
        _some({"key": KEYS, "operator": st.sampled_from(["Exists", "DoesNotExist"])}),
        _some({"key": KEYS, "operator": st.sampled_from(["Gt", "Lt"]), "values": st.just(["7"])}),
    ),
    min_size=1,
    max_size=3,
)
_TERM = _some({"matchExpressions": _EXPRESSIONS})
_PREFERRED = _some({"matchExpressions": _EXPRESSIONS}, weight=st.integers(1, 100))
_AFFINITY = st.fixed_dictionaries(
    {}, optional={"required": st.lists(_TERM, max_size=2), "preferred": st.lists(_PREFERRED, max_size=2)}
)
_SPREAD = st.lists(
    _some(
        {"over": st.sampled_from(["Hosts", "Zones"])},
        mode=st.sampled_from(["Preferred", "Required"]),
        maxSkew=st.integers(1, 64),
    ),
    max_size=2,
    unique_by=lambda each: str(each["over"]),
)
CACHES = st.one_of(
    _some({"pvc": DNS}),
    _some({"emptyDir": _some({}, sizeLimit=QUANTITIES)}),
    _some({"ephemeral": _some({"size": QUANTITIES}, storageClassName=DNS)}),
    _some({"hostPath": DNS.map(lambda name: f"/mnt/{name}")}),
)
_FREE_NAMES = NAMES.filter(lambda name: name not in ("tierwise", "None"))
_HUB_ADAPTER = _some(
    {"name": _FREE_NAMES, "uri": REPOSITORIES.map(lambda name: f"hf://{name}")},
    revision=PLACES,
    rank=st.integers(1, 512),
)
_CLAIMED_ADAPTER = _some(
    {"name": _FREE_NAMES, "uri": PLACES.map(lambda name: f"pvc://{name}")}, rank=st.integers(1, 512)
)
ADAPTERS = st.lists(st.one_of(_HUB_ADAPTER, _CLAIMED_ADAPTER), max_size=3, unique_by=lambda each: str(each["name"]))
_ROPE = _some(
    {
        "type": st.sampled_from(["yarn", "linear", "dynamic"]),
        "factor": st.sampled_from(["1.5", "2", "4.0"]),
        "originalContextLength": st.integers(128, 131072),
        "theta": st.sampled_from(["10000", "1000000.5"]),
    }
)
RESOURCES = st.builds(
    lambda plain, limited: plain | limited,
    _some({}, cpu=QUANTITIES, memory=QUANTITIES, sharedMemory=QUANTITIES, ephemeralStorage=QUANTITIES),
    _above("memory"),
)
_TOLERATION = _some({}, key=DNS, operator=st.sampled_from(["Exists", "Equal"]), value=DNS)
FIELDS = _some(
    {
        "model": _some(
            {"name": NAMES, "uri": URIS},
            revision=PLACES,
            tokenSecretRef=_some({"name": DNS}, key=DNS),
            cachePVC=DNS,
            serviceAccountName=DNS,
            aliases=st.lists(_FREE_NAMES, max_size=2, unique=True),
            chatTemplate=_some({"configMapName": DNS}, key=DNS),
            adapters=ADAPTERS,
            trustRemoteCode=st.sampled_from(["Enabled", "Disabled"]),
            overrides=_some({}, rope=_ROPE),
        ),
    },
    engine=_some({"version": VERSIONS}),
    quantization=_some(
        {},
        method=st.sampled_from(get_args(QuantizationMethod)),
        kvCacheDtype=st.sampled_from(get_args(KVCacheDtype)),
    ),
    speculation=_speculation(),
    caching=_some({}, prefix=st.sampled_from(["Enabled", "Disabled"]), kvOffloadGiB=st.integers(0, 4096)),
    batching=_batching(),
    contextLength=st.integers(16, 10485760),
    placement=_some(
        {},
        nodeSelector=st.dictionaries(DNS, DNS, max_size=4),
        affinity=_AFFINITY,
        spread=_SPREAD,
        schedulerName=DNS,
        tolerations=st.lists(_TOLERATION, max_size=3),
        runtimeClassName=DNS,
        priorityClassName=DNS,
        imagePullSecrets=st.lists(DNS, max_size=3, unique=True),
    ),
    podMetadata=_some(
        {},
        labels=st.dictionaries(KEYS, DNS, max_size=3),
        annotations=st.dictionaries(KEYS, st.text(max_size=20), max_size=3),
    ),
    certificates=_some({"configMapName": DNS}, key=DNS),
    env=st.lists(VARIABLES, max_size=3, unique_by=lambda each: str(each["name"])),
    startupTimeoutSeconds=st.integers(30, 14400),
    drainSeconds=st.integers(0, 3600),
    rollout=st.sampled_from(["Surge", "Replace"]),
)


@st.composite
def specs(draw: st.DrawFn, arguments: st.SearchStrategy[str] = ALLOWED_ARGUMENTS) -> dict[str, Any]:
    """A spec as written, that the API accepts; not every engine release can serve it."""
    tensor, pipeline = draw(st.integers(1, 8)), draw(st.integers(1, 4))
    gpus = draw(st.sampled_from([0, tensor * pipeline]))
    written: dict[str, Any] = draw(FIELDS) | {
        "parallelism": {"tensor": tensor, "pipeline": pipeline},
        "resources": draw(RESOURCES) | {"gpus": gpus},
    }
    model = written["model"]
    if model["uri"].startswith("hf://") and "cachePVC" not in model and draw(st.booleans()):
        written["modelCache"] = draw(CACHES)
    extra = draw(st.lists(arguments, max_size=6))
    return written | ({"extraArgs": extra} if extra else {})
