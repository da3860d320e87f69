"""What leaves the router is the client's body with the model's name changed, and nothing else: for any JSON text."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.unit.router.fuzzing import bytes_of, fuzz
from tests.unit.router.json_texts import STRINGS, VALUES, Pairs, objects, places, text
from tests.unit.router.processor_time import processor_seconds
from tests.unit.router.running_router import chat, post, route, running, tier
from tests.unit.router.scripted_upstream import COMPLETION, upstream
from tierwise.runtime.garbage import GarbageCollection
from tierwise_router.json_scan import MOST_KEYS, members
from tierwise_router.openai_error import ClientError
from tierwise_router.request_body import MOST_ANSWERS, MOST_COMMAS, MOST_CONTAINERS, MOST_QUOTES, Body, read, shape

SEEDS = st.integers(0, 2**32)
NAMES = st.sampled_from(["auto", "model", '"model"', "é", "a/b"])
OPTIONS = st.one_of(st.none(), VALUES.filter(lambda value: isinstance(value, Pairs)))
BODIES = st.one_of(
    objects(("model", NAMES)),
    objects(("model", NAMES), ("stream", st.booleans())),
    objects(("model", NAMES), ("stream_options", OPTIONS)),
    objects(("model", NAMES), ("model", NAMES)),
)


def _read(raw: bytes) -> Body | ClientError:
    try:
        return read(raw)
    except ClientError as error:
        return error


@fuzz(40)
@given(BODIES, SEEDS, st.booleans(), st.sampled_from(["m", 'a"b\\c', "é"]))
def test_only_the_model_and_the_wish_for_usage_change_and_every_other_byte_stays(
    pairs: Pairs, seed: int, force: bool, name: str
) -> None:
    raw = text(pairs, seed)
    found = places(raw)
    keys = [key for key, _, _ in found]
    values = orjson.loads(raw)
    body = _read(raw)
    if isinstance(body, ClientError):
        assert body.status == 400
        twice = keys.count("model") > 1 or keys.count("stream_options") > 1
        assert twice or not isinstance(values["model"], str) or not values["model"] or _bad_options(values)
        return
    assert keys.count("model") == 1
    out = body.upstream(name, force)
    spans = {key: (start, end) for key, start, end in found}
    changes = [] if name == body.model else [(*spans["model"], orjson.dumps(name))]
    if force and "stream_options" in spans:
        start, end = spans["stream_options"]
        options = orjson.dumps(_with_usage(values))
        changes.append((start, end, options))
    elif force:
        start = raw.index(b"{") + 1
        changes.append((start, start, b'"stream_options":{"include_usage":true},'))
    expected = raw
    for start, end, new in sorted(changes, reverse=True):
        expected = expected[:start] + new + expected[end:]
    assert out == expected
    wanted = {**values, "model": name}
    if force:
        wanted["stream_options"] = _with_usage(values)
    assert orjson.loads(out) == wanted
    top: list[list[tuple[str, Any]]] = []
    json.loads(out, object_pairs_hook=lambda pairs: top.append(pairs) or dict(pairs))  # type: ignore[func-returns-value]
    assert [key for key, _ in top[-1]].count("model") == 1


def _with_usage(values: dict[str, Any]) -> dict[str, Any]:
    options = {**(values.get("stream_options") or {}), "include_usage": True}
    return options | ({"continuous_usage_stats": False} if options.get("continuous_usage_stats") else {})


def _bad_options(values: dict[str, Any]) -> bool:
    options, stream = values.get("stream_options"), values.get("stream")
    return not isinstance(options, dict | None) or not isinstance(stream, bool | None)


@fuzz(40)
@given(BODIES, SEEDS)
def test_members_are_where_a_descent_finds_them(pairs: Pairs, seed: int) -> None:
    raw = text(pairs, seed)
    values = orjson.loads(raw)
    names = ("model", "stream_options")
    found = [(key, start, end) for key, start, end in places(raw) if key in names]
    if len({key for key, _, _ in found}) < len(found):
        with pytest.raises(Exception, match="twice"):
            members(raw, values, names)
    else:
        assert members(raw, values, names).keys() == {key for key, _, _ in found}
        for key, start, end in found:
            span = members(raw, values, names)[key]
            assert (span.start, span.end) == (start, end)


@fuzz(40)
@given(st.one_of(st.binary(max_size=200), st.builds(text, st.one_of(BODIES, VALUES), SEEDS)), SEEDS, st.integers(0, 3))
@example(b'{"model":"a","stream_options":{"x":[' + b"[" * 300 + b"]" * 300 + b"]}}", 0, 0)
@example(b'{"model":"a","tools":' + b"[" * 300 + b"]" * 300 + b"}", 0, 0)
@example(b'{"model":"a","messages":[{"role":' + b"[" * 1000 + b"]" * 1000 + b"}]}", 0, 0)
@example(b'{"model":"a","messages":[{"content":' + b'[{"content":' * 500 + b"1" + b"}]" * 500 + b"}]}", 0, 0)
@example(b'{"model":"a","instructions":' + b"[" * 1000 + b"]" * 1000 + b"}", 0, 0)
@example(b'{"model":"a","cache_salt":' + b"[" * 1000 + b"]" * 1000 + b',"messages":[{"tool_calls":[1]}]}', 0, 0)
def test_whatever_comes_is_read_or_refused_and_nothing_else_is_raised(raw: bytes, seed: int, spoilt: int) -> None:
    changed = bytearray(raw)
    for place, byte in zip(
        bytes_of(seed, spoilt, bytes(range(256))), bytes_of(seed + 1, spoilt, b'"{}[],:\\'), strict=True
    ):
        if changed:
            changed[place % len(changed)] = byte
    body = _read(bytes(changed))
    if isinstance(body, ClientError):
        assert 400 <= body.status < 500
        assert not body.close
    else:
        assert shape(body.values).prompt_tokens >= 1
        assert orjson.loads(body.upstream("m", True))["model"] == "m"


CONTENT = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.sampled_from(STRINGS)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["type", "text", "content", "role", "tool_calls", "image_url"]), inner, max_size=4
        ),
    ),
    max_leaves=10,
)
SHAPED = [
    "messages",
    "prompt",
    "input",
    "instructions",
    "tools",
    "functions",
    "cache_salt",
    "max_tokens",
    "response_format",
    "text",
]


@fuzz(40)
@given(st.dictionaries(st.sampled_from(SHAPED), CONTENT, max_size=5))
def test_the_facts_of_a_body_are_found_whatever_stands_where(values: dict[str, Any]) -> None:
    facts = shape(values)
    assert facts.prompt_tokens >= 1
    assert facts.max_tokens is None or facts.max_tokens > 0
    assert 1 <= facts.answers <= MOST_ANSWERS


@pytest.mark.parametrize(
    ("values", "answers"),
    [
        ({}, 1),
        ({"n": 5}, 5),
        ({"n": 2, "best_of": 4}, 4),
        ({"n": True, "best_of": "8"}, 1),
        ({"n": -3}, 1),
        ({"n": 10**12}, MOST_ANSWERS),
        ({"prompt": ["a", "b", "c"], "n": 2}, 6),
        ({"prompt": [[1, 2], [3]]}, 2),
        ({"prompt": [1, 2, 3]}, 1),
        ({"prompt": []}, 1),
        ({"input": ["a", "b"]}, 1),
    ],
)
def test_how_many_answers_a_request_asks_for(values: dict[str, Any], answers: int) -> None:
    assert shape(values).answers == answers


def test_a_prompt_of_token_ids_has_as_many_tokens() -> None:
    assert shape({"prompt": [1, 2, 3]}).prompt_tokens == 3
    assert shape({"input": [[1, 2, 3], [4, 5]]}).prompt_tokens == 5
    assert shape({"input": ["12345678", "1234567"]}).prompt_tokens == 4


@pytest.mark.parametrize(
    "raw",
    [
        b'{"model":"a","model":"b"}',
        b'{"model":"a","mo\\u0064el":"b"}',
        b'{"mo\\u0064EL":1,"model":"a","\\u006Dodel":"b"}',
        b'{"model":"a","x":{"model":"c"},"model":"a"}',
        b'{"model":"a","stream":true,"stream_options":{"include_usage":true},"stream_options":null}',
        b'{"model":"a","stream":true,"stream_options":{},"stream\\u005foptions":{"include_usage":false}}',
    ],
)
async def test_case_27_a_key_that_stands_twice_is_refused(raw: bytes) -> None:
    async with upstream(default=[COMPLETION]) as up, running(route(tier("a", up))) as router:
        got = await router.ask(post(raw))
        assert (got.status, got.code) == (400, "duplicate_key")
        assert up.seen == []


@pytest.mark.parametrize(
    ("raw", "sent"),
    [
        (b'{"\\u006dodel":"auto","x":1}', b'{"\\u006dodel":"a-model","x":1}'),
        (b'{"x":{"model":"y"},"model" : "auto" }', b'{"x":{"model":"y"},"model" : "a-model" }'),
        (b'{"x\\"model":"y","model":"auto"}', b'{"x\\"model":"y","model":"a-model"}'),
        (b'{"x":"\\"model\\":","model":"auto"}', b'{"x":"\\"model\\":","model":"a-model"}'),
    ],
)
async def test_case_27_a_key_that_only_looks_like_it_is_left_alone(raw: bytes, sent: bytes) -> None:
    async with upstream(default=[COMPLETION]) as up, running(route(tier("a", up))) as router:
        assert (await router.ask(post(raw))).status == 200
        assert up.seen[0].body == sent


@pytest.mark.parametrize(
    "raw",
    [
        b'{"model":"auto","x":' + b"[" * 2_000 + b"]" * 2_000 + b"}",
        b'{"model":"auto","temperature":NaN}',
        b'{"model":"auto","temperature":Infinity}',
        b'\xef\xbb\xbf{"model":"auto"}',
        b'{"model":"auto","x":"\\ud800"}',
        b'{"model":"auto","x":"\xff"}',
        b'{"model":"auto"} {}',
        b'["model"]',
        b"",
        b'{"model":1}',
        b'{"model":""}',
        b'{"model":"auto","stream":1}',
        b'{"model":"auto","stream_options":[]}',
    ],
)
async def test_case_28_what_is_no_json_is_refused(raw: bytes) -> None:
    async with upstream(default=[COMPLETION]) as up, running(route(tier("a", up))) as router:
        async with router.client() as client:
            assert (await client.ask(post(raw))).status == 400
            assert (await client.ask(post(chat()))).status == 200  # the connection is as good as before
        assert len(up.seen) == 1


async def test_case_28_numbers_pass_untouched_however_large_or_exact() -> None:
    numbers = b'"seed":18446744073709551616,"x":1.0,"y":0.1000000000000000055511151231257827,"z":1e400,"n":-0'
    raw = b'{"model":"auto",' + numbers.replace(b'"z":1e400,', b"") + b"}"
    async with upstream(default=[COMPLETION]) as up, running(route(tier("a", up))) as router:
        assert (await router.ask(post(raw))).status == 200
        assert up.seen[0].body == raw.replace(b'"auto"', b'"a-model"')


MANY = {
    "containers": b"[]," * (MOST_CONTAINERS - 3),
    "deep": (b"[" * 900 + b"]" * 900 + b",") * (MOST_CONTAINERS // 900 - 1),
    "objects": b'{"a":0},' * (MOST_CONTAINERS - 3),
    "strings": b'"",' * (MOST_QUOTES // 2 - 20),
    "numbers": b"0," * (MOST_COMMAS - 10),
    "models": b'{"model":0},' * (MOST_KEYS - 2),
    "escapes": b'{"\\u006dodel":0},' * (MOST_KEYS - 2),
}


@pytest.fixture
def routers_collector() -> Iterator[None]:
    """The garbage collector as the router sets it: the tests' own heap would be walked many times."""
    before = gc.get_threshold()
    GarbageCollection().after_cycle()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


@pytest.mark.usefixtures("routers_collector")
@pytest.mark.parametrize("which", MANY)
def test_case_29_no_body_within_the_bounds_keeps_the_others_waiting(which: str) -> None:
    raw = b'{"model":"auto","stream":true,"x":{"model":1},"prompt":[' + MANY[which] + b"0]}"

    def passed_on() -> None:
        body = read(raw)
        shape(body.values)
        body.upstream("m", True)

    # 1 to 5 times as long as reading the most objects, 15 to 25 ms; scanning brackets in Python took 5 s.
    unit = processor_seconds(lambda: orjson.loads(b"[" + MANY["objects"] + b"0]"))
    assert processor_seconds(passed_on) < 20 * unit


@pytest.mark.parametrize(
    "filler",
    [b"[]," * MOST_CONTAINERS, b'"",' * MOST_QUOTES, b"0," * (MOST_COMMAS + 1), b'{"model":0},' * (MOST_KEYS + 1)],
)
def test_case_29_a_body_beyond_the_bounds_is_refused(filler: bytes) -> None:
    with pytest.raises(ClientError) as refused:
        read(b'{"model":"auto","prompt":[' + filler + b"0]}")
    assert refused.value.status == 400


def test_case_29_a_body_of_much_text_is_within_the_bounds() -> None:
    words = b'He said: \\"no, [never] {at} all, thanks\\". ' * 100_000
    assert read(b'{"model":"auto","prompt":"' + words + b'"}').model == "auto"


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        (b'{"continuous_usage_stats":true}', b'{"continuous_usage_stats":false,"include_usage":true}'),
        (b'{"include_usage":false,"other":1}', b'{"include_usage":true,"other":1}'),
    ],
)
def test_usage_in_every_chunk_is_not_asked_for_in_the_clients_place(asked: bytes, sent: bytes) -> None:
    """vLLM says it in every chunk only where usage is asked for too, which the client has not done."""
    raw = b'{"model":"a","stream":true,"stream_options":%b}'
    assert read(raw % asked).upstream("a", force_usage=True) == raw % sent
