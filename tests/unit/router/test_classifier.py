"""The policy Classifier through the real gateway: which tier answers, what is refused, what a shadow counts."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from tests.unit.router.running_router import Answered, Router, chat, post, route, running, tier
from tests.unit.router.scripted_upstream import COMPLETION, upstream
from tests.unit.routing.classifiers import classifier
from tierwise import reasons
from tierwise.errors import Invalid
from tierwise.kube.objects import CLASSIFIER_KEY
from tierwise.routing.classifier import CONFIG_MAP_KEY, MOST_BYTES
from tierwise.routing.route import ClassifierFile, Content, Decider, Route, Rule
from tierwise_router.bodies import Bodies
from tierwise_router.classifier_loader import ClassifierLoader
from tierwise_router.metrics import RouterCollector
from tierwise_router.route_file import RouteFile, to_route

CONTENT = Content(Decider.CLASSIFIER, classifier=ClassifierFile(CLASSIFIER_KEY))
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
HARD, EASY = "word " * 400, "hi"


def weights(**header: Any) -> bytes:
    """A file that knows only the length of a question: with a share of 50 %, from 147 bytes on it is hard."""
    given = {"route": "auto", "from_tier": "a", "reference_tier": "b", "large_share_percent": 50, **header}
    return classifier(**given).write()


class Place:
    """A router over the tiers a and b with a classifier in a file."""

    def __init__(self, router: Router, folder: Path) -> None:
        self.router = router
        self.file, self.salt = folder / CLASSIFIER_KEY, folder / "salt"
        self.loader = ClassifierLoader(router.state, folder, self.salt)

    async def put(self, data: bytes | None) -> None:
        beside = self.file.with_suffix(".new")
        if data is None:
            self.file.unlink(missing_ok=True)
        else:
            beside.write_bytes(data)
            beside.replace(self.file)
        await self.loader.look()

    async def ask(self, text: str = EASY, path: str = "/v1/chat/completions", **more: Any) -> tuple[str, str]:
        """The tier that answered, and why."""
        return _why(await self.router.ask(post(chat(messages=[{"role": "user", "content": text}], **more), path)))

    def series(self, name: str) -> list[str]:
        registry = CollectorRegistry()
        registry.register(RouterCollector(self.router.state, Bodies()))
        page = generate_latest(registry).decode().splitlines()
        return [
            line.removeprefix(f"tierwise_router_{name}") for line in page if line.startswith(f"tierwise_router_{name}")
        ]


def _why(got: Answered) -> tuple[str, str]:
    assert got.status == 200, got.body
    return got.headers["x-tierwise-tier"], got.headers["x-tierwise-reason"]


@asynccontextmanager
async def serving(folder: Path, data: bytes | None = b"", **changes: Any) -> AsyncIterator[Place]:
    """Two tiers, and a classifier unless `data` says another file or None."""
    good = [COMPLETION]
    async with upstream(default=good) as small, upstream(default=good) as large:
        served = route(tier("a", small), tier("b", large), **{"content": CONTENT, **changes})
        async with running(served) as router:
            place = Place(router, folder)
            await place.put(weights() if data == b"" else data)
            yield place


async def test_a_hard_question_goes_to_the_reference_tier_and_an_easy_one_to_the_cheap_tier(tmp_path: Path) -> None:
    async with serving(tmp_path) as place:
        assert await place.ask(EASY) == ("a", "Classified")
        assert await place.ask(HARD) == ("b", "Classified")
        assert [(one.tier, one.reason) for one in place.router.records] == [("a", "Classified"), ("b", "Classified")]
        assert '"reason":"Classified"' in place.router.lines[0]
        assert 'choices_total{reason="Classified",tier="b"} 1.0'.removeprefix("choices_total") in place.series(
            "choices_total"
        )
        assert place.router.state.reference_share == 50


async def test_rules_come_first_and_names_and_embeddings_are_not_read(tmp_path: Path) -> None:
    rules = (Rule("r", "a", tools=True),)
    async with serving(tmp_path, rules=rules) as place:
        assert await place.ask(HARD, tools=[TOOL]) == ("a", "Rule")
        assert await place.ask(HARD, model="a") == ("a", "Direct")
        assert await place.ask(path="/v1/embeddings", input=HARD) == ("a", "Default")
        active = place.router.state.content.active
        assert active is not None
        assert len(active.window) == 0


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/responses"])
async def test_other_questions_are_read_too(tmp_path: Path, path: str) -> None:
    name = "prompt" if path == "/v1/completions" else "input"
    async with serving(tmp_path) as place:
        for text, where in ((HARD, "b"), (EASY, "a")):
            got = await place.router.ask(post({"model": "auto", name: text}, path))
            assert _why(got) == (where, "Classified")


REFUSED = {
    "no file": (None, reasons.CLASSIFIER_MISSING, "there is no file"),
    "an empty file": (b"\n", reasons.CLASSIFIER_INVALID, "no classifier file"),
    "cut off": (weights()[:-100], reasons.CLASSIFIER_INVALID, "broken"),
    "a bit is wrong": (weights()[:99_999] + b"?" + weights()[100_000:], reasons.CLASSIFIER_INVALID, "broken"),
    "too large": (weights() + bytes(MOST_BYTES), reasons.CLASSIFIER_INVALID, "too many"),
    "another version": (weights(version=99), reasons.CLASSIFIER_INVALID, "version 99"),
    "another route": (weights(route="other"), reasons.CLASSIFIER_MISFIT, "route 'other'"),
    "a tier that is not there": (weights(reference_tier="c"), reasons.CLASSIFIER_MISFIT, "no tier 'c'"),
    "too few labels": (weights(labels=299), reasons.TOO_FEW_LABELS, "299 labels"),
    "no promise": (weights(large_share_percent=100), reasons.PROMISE_NOT_KEPT, "no share below 100 %"),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_a_file_that_cannot_be_used_leaves_the_route_to_its_rules_and_is_named_once(
    tmp_path: Path, case: str, caplog: pytest.LogCaptureFixture
) -> None:
    data, reason, says = REFUSED[case]
    caplog.set_level(logging.INFO)
    async with serving(tmp_path) as place:
        assert await place.ask(HARD) == ("b", "Classified")
        caplog.clear()
        for _ in range(3):
            await place.put(data)
        assert await place.ask(HARD) == ("a", "Default")
        assert place.series("classifier{") == [f'hash="",reason="{reason}",state="Refused"}} 1.0']
        assert place.series("reference_share_percent{") == []
        (said,) = caplog.messages
        assert reason in said
        assert says in said
        assert place.router.state.reference_share is None
        await place.put(weights())
        assert await place.ask(HARD) == ("b", "Classified")


async def test_a_file_that_comes_later_is_served_and_the_metrics_say_which(tmp_path: Path) -> None:
    async with serving(tmp_path, None) as place:
        assert await place.ask(HARD) == ("a", "Default")
        await place.put(weights(labels=1234))
        assert await place.ask(HARD) == ("b", "Classified")
        active = place.router.state.content.active
        assert active is not None
        told = f'hash="{active.digest}",reason="ClassifierServes",state="Serves"}} 1.0'
        assert place.series("classifier{") == [told]
        assert place.series("classifier_labels") == [" 1234.0"]
        assert place.series("reference_share_percent{") == [
            'part="needed"} 50.0',
            'part="wanted"} 50.0',
            'part="applied"} 50.0',
        ]
        assert place.series("predicted_quality_percent{") == [
            'part="expected"} 95.0',
            'part="lower"} 93.0',
            'part="unpressed"} 95.0',
        ]


async def test_measured_quality_and_pressure_steer_the_share_and_the_threshold_follows(tmp_path: Path) -> None:
    async with serving(tmp_path) as place:
        content = place.router.state.content
        content.pressure = 0.0
        assert await place.ask(HARD) == ("a", "Classified")
        content.pressure, content.quality = None, 100.0
        assert await place.ask(EASY) == ("b", "Classified")
        content.pressure = 30.0
        assert place.router.state.reference_share == 30
        assert place.series("reference_share_percent{") == [
            'part="needed"} 50.0',
            'part="wanted"} 100.0',
            'part="applied"} 30.0',
        ]


SALTS = (b"grains-of-chance-0123456789", b"other-grains-of-chance-0123")


async def test_weights_of_salted_features_decide_with_the_salt_of_the_route(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Each time that the salt changes, the file is judged anew: a Secret may come later than the ConfigMap, or go."""
    caplog.set_level(logging.DEBUG)
    async with serving(tmp_path) as place:
        assert await place.ask(HARD) == ("b", "Classified"), "weights without a salt need none"
        await place.put(weights(salt=SALTS[0]))
        for given, why in (
            (None, ("a", "Default")),
            (SALTS[0] + b"\n", ("b", "Classified")),
            (SALTS[1], ("a", "Default")),
            (SALTS[0], ("b", "Classified")),
            (b"short", ("a", "Default")),
        ):
            if given is None:
                place.salt.unlink(missing_ok=True)
            else:
                place.salt.write_bytes(given)
            await place.loader.look()
            assert await place.ask(HARD) == why
        refused = f'reason="{reasons.CLASSIFIER_INVALID}",state="Refused"'
        assert refused in place.series("classifier{")[0]
        said = " ".join(caplog.messages)
        assert "with another salt" in said
        assert "must hold 16 to 64 bytes" in said
        assert not any(salt.decode() in said for salt in SALTS)
        await place.put(weights())
        assert await place.ask(HARD) == ("b", "Classified"), "a bad salt does weights without one no harm"


async def test_in_shadow_it_counts_and_the_default_tier_answers(tmp_path: Path) -> None:
    async with serving(tmp_path, content=replace(CONTENT, shadow=True)) as place:
        for text in (HARD, HARD, EASY):
            assert await place.ask(text) == ("a", "Default")
        assert place.series("shadow_choices_total") == [
            '{policy="classifier",tier="a"} 1.0',
            '{policy="classifier",tier="b"} 2.0',
        ]
        assert [line.split(",", 1)[1] for line in place.series("classifier{")] == [
            'reason="ClassifierShadows",state="Shadows"} 1.0'
        ]


async def test_a_traffic_that_has_shifted_is_said(tmp_path: Path) -> None:
    async with serving(tmp_path) as place:
        active = place.router.state.content.active
        assert active is not None
        for _ in range(1_000):
            active.window.add(5.0)
        assert 'reason="TrafficShifted",state="Serves"} 1.0' in place.series("classifier{")[0]
        seen, allowed = (float(line.split()[-1]) for line in place.series("score_shift_points{"))
        assert seen > allowed > 5


# --- the route -------------------------------------------------------------------------------------------------------


async def test_another_route_is_judged_anew_and_keeps_what_is_known_of_the_traffic(tmp_path: Path) -> None:
    async with serving(tmp_path) as place:
        state = place.router.state
        await place.ask(HARD)
        served = state.route
        state.replace(replace(served, content=replace(CONTENT, reference_tier="a")), state.keys)
        await place.loader.look()
        assert state.reference_share is None
        state.replace(replace(served, queue=replace(served.queue, max_requests=7)), state.keys)
        await place.loader.look()
        await place.ask(HARD)
        state.replace(served, state.keys)
        await place.loader.look()
        assert state.content.active is not None
        assert len(state.content.active.window) == 1
        state.replace(replace(served, content=Content()), state.keys)
        await place.loader.look()
        assert await place.ask(HARD) == ("a", "Default")
        assert place.series("classifier{") == []


def test_the_key_of_the_config_map_is_one_word_everywhere() -> None:
    assert CLASSIFIER_KEY == CONFIG_MAP_KEY


def from_file(policy: dict[str, Any], **more: Any) -> Route:
    tiers = [{"name": name, "model": name, "servers": ["http://127.0.0.1:1"]} for name in ("a", "b")]
    return to_route(RouteFile.model_validate({"tiers": tiers, "policy": policy, **more}), {})


def test_a_routes_file_says_the_same_in_its_own_words() -> None:
    plain = from_file({})
    assert plain.content == Content()
    given = from_file(
        {"type": "Classifier", "mode": "Shadow", "classifier": {"file": "w.bin", "qualityPercent": 97}},
        conversation="Free",
        referenceTier="b",
    )
    assert given.content == Content(Decider.CLASSIFIER, True, ClassifierFile("w.bin", 97), "b", stay=False)


@pytest.mark.parametrize(
    ("policy", "more", "says"),
    [
        ({"type": "Classifier"}, {}, "needs policy.classifier"),
        ({}, {"referenceTier": "c"}, "there is no tier 'c'"),
    ],
)
def test_what_does_not_fit_together_is_refused(policy: dict[str, Any], more: dict[str, Any], says: str) -> None:
    with pytest.raises(Invalid, match=says):
        from_file(policy, **more)
