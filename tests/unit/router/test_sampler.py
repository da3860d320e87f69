"""Checks which requests are sampled, what is kept of them, and that neither load nor a full queue chooses."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import orjson
import pytest

from tests.unit.router.running_router import route, tier
from tests.unit.router.scripted_upstream import Upstream
from tierwise.errors import Invalid
from tierwise.routing.classifier import salt_check
from tierwise.routing.cost import NOTHING, Usage
from tierwise.routing.judge import Verdict
from tierwise.routing.route import Route, Sampling, Use
from tierwise_router import client_answer
from tierwise_router.background import Answer
from tierwise_router.client_answer import Exchange
from tierwise_router.comparing import Compared
from tierwise_router.http_request import Request
from tierwise_router.record import Charge, Record
from tierwise_router.reply import Reply
from tierwise_router.salt import read_salt
from tierwise_router.sampler import CHAT, MOST_BYTES, MOST_WAITING, Sample, Sampler
from tierwise_router.shadow_counts import AGAIN, CHEAPER, MARGIN, REFERENCE, ShadowCounts
from tierwise_router.verdict_file import VerdictFile

NOWHERE = cast(Upstream, SimpleNamespace(url="http://127.0.0.1:1"))
SALT = b"0123456789abcdef"
ANSWERS = Answer("a", 5, "stop", 7), Answer("b", 9, "stop", 8)


def served(percent: int = 5) -> Route:
    tiers = tier("small", NOWHERE), tier("large", NOWHERE), tier("judge", NOWHERE, use=Use.OVERFLOW)
    return route(*tiers, sampling=Sampling(percent, "judge", NOTHING))


def asked(path: str = CHAT, body: bytes = b'{"messages": []}') -> Any:
    return cast(Request, SimpleNamespace(path=path, body=bytearray(body)))


def reply() -> Any:
    return cast(Reply, SimpleNamespace(tee=None))


def record(name: str, answered_by: str = "small", **fields: Any) -> Record:
    made = Record(name, 0.0, tier=answered_by, reason="Default", outcome="ok", **fields)
    made.charges.append(Charge(answered_by, Usage(input=3, output=7), NOTHING))
    return made


def sampler(given: Route, counts: ShadowCounts | None = None) -> Sampler:
    return Sampler(counts or ShadowCounts(), lambda: given, SALT)


def test_the_wanted_part_of_the_requests_is_sampled_and_the_same_each_time() -> None:
    first, second = sampler(served()), sampler(served())
    chosen = [first.begin(asked(), reply(), record(f"req_{number}")) is not None for number in range(4000)]
    assert 0.04 < sum(chosen) / len(chosen) < 0.06
    assert chosen == [second.begin(asked(), reply(), record(f"req_{number}")) is not None for number in range(4000)]


def test_which_requests_are_sampled_cannot_be_known_without_the_salt() -> None:
    mine, others = sampler(served()), Sampler(ShadowCounts(), served, b"another salt")
    names = [f"req_{number}" for number in range(2000)]
    chosen = [{name for name in names if one.begin(asked(), reply(), record(name))} for one in (mine, others)]
    assert len(chosen[0] & chosen[1]) < len(chosen[0]) / 2


def test_only_routed_answers_of_chat_up_to_the_reference_tier_are_kept() -> None:
    counts = ShadowCounts()
    one = sampler(served(100), counts)
    assert one.begin(asked("/v1/embeddings"), reply(), record("a")) is None
    for made in (
        record("b", "judge"),
        Record("c", 0.0, tier="small", reason="Direct", outcome="ok"),
        Record("d", 0.0, tier="small", reason="Default", outcome="broken"),
    ):
        sample = one.begin(asked(), reply(), made)
        assert sample is not None
        one.end(sample, made)
    assert one.waiting == 0
    for made in (record("e"), record("f", "large")):
        sample = one.begin(asked(), reply(), made)
        assert sample is not None
        one.end(sample, made)
    assert one.waiting == 2
    assert counts.sampled == {"cheaper": 1, "reference": 1}


def test_what_is_too_much_goes_by_chance_and_not_by_age() -> None:
    counts = ShadowCounts()
    one = sampler(served(100), counts)
    for number in range(4 * MOST_WAITING):
        made = record(f"req_{number}")
        sample = one.begin(asked(body=b"%d" % number), reply(), made)
        assert sample is not None
        one.end(sample, made)
    kept: list[int] = []
    while (sample := one.take()) is not None:
        kept.append(int(sample.body))
    assert len(kept) == MOST_WAITING
    assert counts.dropped["full"] == 3 * MOST_WAITING
    late = sum(number >= 2 * MOST_WAITING for number in kept)
    assert MOST_WAITING / 4 < late < 3 * MOST_WAITING / 4, "neither the first nor the last"


def test_a_long_exchange_is_let_go() -> None:
    counts = ShadowCounts()
    one = sampler(served(100), counts)
    said, made = reply(), record("a")
    sample = one.begin(asked(), said, made)
    assert sample is not None
    said.tee(b"x" * MOST_BYTES)
    assert sample.parts == []
    one.end(sample, made)
    assert one.waiting == 0
    assert counts.dropped["too_large"] == 1


def test_a_request_that_is_too_large_is_not_held_twice_while_it_is_answered() -> None:
    counts = ShadowCounts()
    one, made = sampler(served(100), counts), record("a")
    sample = one.begin(asked(body=b" " * (MOST_BYTES + 1)), reply(), made)
    assert sample is not None
    assert sample.body == b""
    one.end(sample, made)
    assert (one.waiting, counts.dropped["too_large"], counts.sampled["cheaper"]) == (0, 1, 1)


def exchange(body: dict[str, Any], answer: bytes, *, stream: bool = False) -> Exchange | None:
    return client_answer.read(Sample(0, 0.5, orjson.dumps(body), stream, parts=[answer]))


ASKED = {"model": "chat", "messages": [{"role": "user", "content": "hello"}], "stream": True, "seed": 3}
STREAM = (
    b'data: {"choices":[{"index":0,"delta":{"role":"assistant"}}]}\n\n'
    b'data: {"choices":[{"index":0,"delta":{"content":"he"}}]}\n\n'
    b'data: {"choices":[{"index":0,"delta":{"content":"re"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
)


def test_a_streamed_answer_is_put_together() -> None:
    found = exchange(ASKED, STREAM, stream=True)
    assert found is not None
    assert (found.text, found.finish_reason, found.request) == ("here", "stop", "user: hello")
    assert found.values == {"model": "chat", "messages": ASKED["messages"], "seed": 3}


WHOLE = b'{"choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}]}'
CALL = b'{"choices":[{"index":0,"message":{"role":"assistant","content":null,"tool_calls":[{}]}}]}'
IMAGE = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]


@pytest.mark.parametrize(
    ("changes", "answer"),
    [
        ({"tools": [{"type": "function"}]}, WHOLE),
        ({"n": 2}, WHOLE),
        ({"messages": IMAGE}, WHOLE),
        ({}, CALL),
        ({}, b"not JSON"),
    ],
    ids=["tools", "several answers", "an image", "a tool call", "no JSON"],
)
def test_what_is_more_than_text_is_not_compared(changes: dict[str, Any], answer: bytes) -> None:
    assert exchange(ASKED, WHOLE) is not None
    assert exchange(ASKED | changes, answer) is None


def pair(number: int, verdict: Verdict | None = Verdict.LOSS, routed: str = CHEAPER) -> Compared:
    said = Exchange({"messages": [{"role": "user", "content": f"secret words {number}"}]}, "secret", "answer", "stop")
    sample = Sample(number, 0.5, b"", reference="large")
    return Compared(sample, said, "small", routed, *ANSWERS, (verdict, verdict), verdict)


@pytest.mark.parametrize(("routed", "rate"), [(CHEAPER, 0.05), (MARGIN, 0.05), (REFERENCE, 0.0125)])
def test_a_line_says_how_many_requests_it_stands_for(tmp_path: Path, routed: str, rate: float) -> None:
    path, salt = tmp_path / "verdicts.jsonl", tmp_path / "salt"
    salt.write_bytes(SALT)
    given = pair(1, routed=routed)
    given.sample.rate = 0.05
    VerdictFile(path, salt)(served(), given)
    assert json.loads(path.read_text())["samplingRate"] == pytest.approx(rate)


def test_a_file_of_verdicts_holds_labels_without_a_prompt_and_stays_bounded(tmp_path: Path) -> None:
    path, salt = tmp_path / "verdicts.jsonl", tmp_path / "salt"
    salt.write_bytes(SALT)
    file = VerdictFile(path, salt, most_lines=20)
    for number in range(50):
        file(served(), pair(number))
    file(served(), pair(50, verdict=None))
    file(served(), pair(51, routed=AGAIN))
    text = path.read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert len(lines) <= 20
    assert len({line["id"] for line in lines}) == len(lines)
    assert "secret" not in text
    assert path.stat().st_mode & 0o077 == 0
    last = lines[-1]
    assert (last["small"]["right"], last["reference"]["right"]) == (False, True)
    assert last["small"]["tokens"] == {"input": 7, "output": 5}
    assert last["reference"]["tokens"] == {"input": 8, "output": 9}
    assert (last["from"], last["referenceTier"], last["route"], last["version"]) == ("small", "large", "auto", 1)


def test_a_salt_that_changes_is_used_and_one_that_is_gone_stops_the_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, salt = tmp_path / "verdicts.jsonl", tmp_path / "salt"
    file = VerdictFile(path, salt)
    for given in (SALT, b"another salt of chance"):
        salt.write_bytes(given)
        file(served(), pair(1))
    salt.unlink()
    for _ in range(3):
        file(served(), pair(1))
    first, second = (json.loads(line) for line in path.read_text().splitlines())
    assert first["features"]["buckets"] != second["features"]["buckets"]
    assert first["saltCheck"] == salt_check(SALT) != second["saltCheck"] == salt_check(b"another salt of chance")
    (said,) = caplog.messages
    assert "no verdicts are kept" in said
    assert "another salt of chance" not in said


def test_a_salt_that_can_be_guessed_is_refused(tmp_path: Path) -> None:
    salt = tmp_path / "salt"
    salt.write_text("short")
    with pytest.raises(Invalid, match="16 to 64 bytes"):
        read_salt(salt)
    with pytest.raises(Invalid, match="cannot be read"):
        read_salt(tmp_path / "nothing")
