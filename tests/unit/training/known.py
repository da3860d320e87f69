"""Makes labels of questions whose difficulty follows a known rule, so that what is learned can be compared with it.

A question is a few words of a list and one word that tells its kind. The large tier is right in nine of ten; the small
one too where the kind is easy, and seldom where it is hard.
"""

from __future__ import annotations

from random import Random

from tierwise.routing.text_features import TextFacts, features_of
from tierwise_training.labels import Label, TierAnswer, Tokens

WORDS = [f"filler{number}" for number in range(40)]
EASY, HARD = ("greeting", "weather", "opening"), ("integral", "theorem", "statute")


def labels(
    count: int,
    seed: int = 1,
    *,
    groups: int = 0,
    system: bool = False,
    salt: bytes | None = None,
    small_easy: float = 0.9,
    small_hard: float = 0.3,
    large: float = 0.9,
) -> list[Label]:
    """Half of them easy. With `groups` each has one of so many; with `system` the kind stands in the system prompt
    instead of the question; with a `salt` they hold features instead of prompts."""
    chance = Random(seed)
    return [
        _label(number, chance, groups=groups, system=system, salt=salt, rates=(small_easy, small_hard, large))
        for number in range(count)
    ]


def _label(
    number: int, chance: Random, *, groups: int, system: bool, salt: bytes | None, rates: tuple[float, float, float]
) -> Label:
    hard = chance.random() < 0.5
    kind = chance.choice(HARD if hard else EASY)
    words = chance.sample(WORDS, chance.randint(4, 9)) + ([] if system else [kind])
    chance.shuffle(words)
    messages = [{"role": "user", "content": " ".join(words)}]
    if system:
        messages.insert(0, {"role": "system", "content": f"You answer about {kind}."})
    small = chance.random() < (rates[1] if hard else rates[0])
    features = None
    if salt is not None:
        said = TextFacts(system=f"You answer about {kind}.".encode() if system else b"")
        features = features_of(messages[-1]["content"].encode(), said, salt).to_json()
    return Label(
        id=str(number),
        prompt_hash=f"{number:064x}",
        group=f"g{number % groups}" if groups else None,
        prompt=None if salt is not None else messages,
        features=features,
        small=TierAnswer(right=small, tokens=Tokens(input=20, output=100), finish_reason="stop"),
        reference=TierAnswer(
            right=chance.random() < rates[2], tokens=Tokens(input=20, output=150), finish_reason="stop"
        ),
        from_tier="small",
        reference_tier="large",
        route="chat",
    )
