"""Checks that a container's log keeps every line once, for those who read now and those who follow."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from playground.kubelet import logs
from playground.kubelet.logs import LogFile, LogQuery
from playground.kubelet.server import BadQuery, find_log, parse_query


async def text(parts: AsyncIterator[bytes]) -> str:
    return b"".join([part async for part in parts]).decode()


@pytest.fixture
def log(tmp_path: Path) -> Iterator[LogFile]:
    made = LogFile(tmp_path / "c" / "0.log")
    yield made
    made.close()


async def test_pieces_become_lines_and_the_last_needs_no_newline(log: LogFile) -> None:
    for piece in (b"on", b"e\ntwo\nth", b"ree"):
        log.write(piece)
    assert await text(log.read(LogQuery())) == "one\ntwo\n"
    log.close()
    assert await text(log.read(LogQuery(follow=True))) == "one\ntwo\nthree\n"


async def test_queries(log: LogFile) -> None:
    log.write(b"one\ntwo\nthree\n")
    assert await text(log.read(LogQuery(tail=2))) == "two\nthree\n"
    assert await text(log.read(LogQuery(tail=0))) == ""
    assert await text(log.read(LogQuery(limit=6))) == "one\ntw"
    now = datetime.now(UTC)
    assert await text(log.read(LogQuery(since=now + timedelta(hours=1)))) == ""
    assert await text(log.read(LogQuery(since=now - timedelta(hours=1)))) == "one\ntwo\nthree\n"
    stamped = await text(log.read(LogQuery(timestamps=True, tail=1)))
    assert abs(datetime.fromisoformat(stamped[:26] + "+00:00") - now) < timedelta(minutes=1)
    assert stamped.endswith("Z three\n")


async def test_followers_get_what_was_and_what_comes(log: LogFile) -> None:
    log.write(b"old\n")
    readers = [asyncio.create_task(text(log.read(LogQuery(follow=True)))) for _ in range(2)]
    await asyncio.sleep(0)
    log.write(b"new\nlast")
    log.close()
    assert [await reader for reader in readers] == ["old\nnew\nlast\n"] * 2


async def test_a_log_is_bounded_and_its_end_stays(log: LogFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "LIMIT_BYTES", 1000)
    for number in range(200):
        log.write(b"line %d\n" % number)
    kept = (await text(log.read(LogQuery()))).splitlines()
    assert kept == [f"line {n}" for n in range(200 - len(kept), 200)]
    assert 20 < len(kept) < 100


def test_the_last_words_are_short(log: LogFile) -> None:
    log.write(b"".join(b"%d\n" % n for n in range(500)))
    assert log.last_words().splitlines() == [str(n) for n in range(420, 500)]
    log.write(b"x" * 5000 + b"\n")
    assert len(log.last_words()) == logs.FALLBACK_BYTES


def test_the_options_of_kubectl_logs() -> None:
    query = parse_query({"follow": "true", "tailLines": "5", "sinceTime": "2026-01-01T00:00:00Z", "limitBytes": "9"})
    assert query == LogQuery(True, 5, False, datetime(2026, 1, 1, tzinfo=UTC), 9)
    assert parse_query({}) == LogQuery()
    with pytest.raises(BadQuery):
        parse_query({"tailLines": "x"})
    with pytest.raises(BadQuery, match='container "c" in pod "p" is not available'):
        find_log(None, "p", "c", previous=False)
