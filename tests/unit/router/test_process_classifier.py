"""New weights under load: the router as a process reads them while it is asked, and drops nothing.

The file is replaced as a ConfigMap is: by a symbolic link that points elsewhere from one moment to the next.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tests.unit.router.router_process import RouterProcess, router
from tests.unit.router.scripted_engine import Caller, Seen, scripted_engine
from tests.unit.routing.classifiers import classifier

CALLERS = 16
ROUNDS = 3


def weights(share: int, seed: int) -> bytes:
    """A full file whose weights are random: half a megabyte that says nothing but its share."""
    return classifier(seed=seed, route="chat", large_share_percent=share).write()


class ConfigMapFolder:
    """A folder as the kubelet keeps it: `classifier.bin` is a link into `..data`, which is a link that is replaced."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0
        folder.mkdir()
        (folder / "classifier.bin").symlink_to("..data/classifier.bin")

    def put(self, data: bytes | None) -> None:
        self._count += 1
        made = self._folder / f"..{self._count}"
        made.mkdir()
        if data is not None:
            (made / "classifier.bin").write_bytes(data)
        link = self._folder / "..new"
        link.symlink_to(made.name)
        link.replace(self._folder / "..data")


def served(url: str) -> dict[str, Any]:
    return {
        "name": "chat",
        "tiers": [{"name": name, "model": name, "servers": [url]} for name in ("small", "large")],
        "policy": {"type": "Classifier", "classifier": {"file": "weights/classifier.bin"}},
    }


async def test_weights_that_are_replaced_under_load_are_served_and_nothing_is_dropped(tmp_path: Path) -> None:
    """Each time all requests go to the other tier, then to the default one while the file is broken or away."""
    folder = ConfigMapFolder(tmp_path / "weights")
    folder.put(weights(0, 1))
    seen: Seen = []
    async with scripted_engine(seen) as url:
        with router(served(url), tmp_path) as process:
            answers: Counter[tuple[int, str, str]] = Counter()
            stop = asyncio.Event()
            callers = [asyncio.create_task(_ask(process, answers, stop, streams=n % 2 == 0)) for n in range(CALLERS)]
            loaded = 1
            for number in range(ROUNDS):
                for data, tier, reason in (
                    (weights(99, 2 * number), "large", "Classified"),
                    (weights(0, 2 * number + 1), "small", "Classified"),
                    (weights(0, 0)[:-1], "small", "Default"),
                    (None, "small", "Default"),
                ):
                    folder.put(data)
                    if reason == "Classified":  # both tiers may answer: requests that score alike are divided
                        loaded += 1
                        await _until_said(tmp_path / "errors.log", "decides: 1000 labels", loaded)
                    await _until(answers, (200, tier, reason))
                    assert not any(caller.done() for caller in callers), [caller for caller in callers if caller.done()]
            stop.set()
            await asyncio.gather(*callers)
            logged = len(process.log_of())
    assert {status for status, _, _ in answers} == {200}
    total = sum(answers.values())
    assert len(seen) == total > 200
    assert logged <= total
    errors = (tmp_path / "errors.log").read_text()
    assert "Traceback" not in errors
    assert errors.count("decides: 1000 labels") == 1 + 2 * ROUNDS


async def test_weights_that_were_trained_with_a_salt_are_served_by_a_router_that_has_it(tmp_path: Path) -> None:
    salt = tmp_path / "salt"
    salt.write_text("grains of chance")
    folder = ConfigMapFolder(tmp_path / "weights")
    folder.put(classifier(b"grains of chance", 1, route="chat", large_share_percent=99).write())
    async with scripted_engine([]) as url:
        with router(served(url), tmp_path, "--salt-file", str(salt)) as process:
            caller = Caller(process.url)
            _, headers, _ = await caller.chat("chat", {"usage": {"prompt_tokens": 5, "completion_tokens": 3}})
            assert (headers["x-tierwise-tier"], headers["x-tierwise-reason"]) == ("large", "Classified")
            await caller.close()


async def _ask(
    process: RouterProcess, answers: Counter[tuple[int, str, str]], stop: asyncio.Event, *, streams: bool
) -> None:
    caller = Caller(process.url)
    usage = {"prompt_tokens": 5, "completion_tokens": 3}
    while not stop.is_set():
        more: dict[str, Any] = {"stream": True} if streams else {}
        status, headers, body = await caller.chat("chat", {"usage": usage, "wait": 0.01}, **more)
        answers[status, headers.get("x-tierwise-tier", ""), headers.get("x-tierwise-reason", "")] += 1
        whole = body.rstrip().endswith(b"[DONE]") if streams else bool(json.loads(body or b"{}").get("choices"))
        assert whole, (status, headers, body)
    await caller.close()


async def _until_said(log: Path, words: str, times: int, seconds: float = 30) -> None:
    """Wait until the log has these words so often."""
    until = time.monotonic() + seconds
    while (await asyncio.to_thread(log.read_text)).count(words) < times:
        assert time.monotonic() < until, words
        await asyncio.sleep(0.02)


async def _until(answers: Counter[tuple[int, str, str]], which: tuple[int, str, str], seconds: float = 30) -> None:
    """Wait until more answers of this kind come."""
    before, until = answers[which], time.monotonic() + seconds
    while answers[which] < before + CALLERS:
        assert time.monotonic() < until, (which, answers)
        await asyncio.sleep(0.02)
