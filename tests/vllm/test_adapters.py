"""Checks that the real engine serves what a tier says of its model: adapters, further names, a chat template.

One tier per release. The model says "abcdefgh" for ever from `<|assistant|>` on; the template of this tier ends with
"c", from which the model goes on with "defghabc". The adapter makes it say "n" nearly always, whatever it is asked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from playground.handle import Playground
from tests.cluster.kubectl import Kubectl, Object, ready
from tests.vllm.environment import ADAPTER, RELEASES
from tests.vllm.tiers import CLAIM, READY_SECONDS, client, cycle, tier

pytestmark = pytest.mark.vllm
TOKENS = 24
FOLLOWS_M = "n"  # the adapter adds the embedding of "m" to whatever stands there
QUESTIONS = ("What do you say?", "And now something else entirely?")
TEMPLATE = "{% for message in messages %}{{ message['content'] }}{% endfor %}<|end|>c"


def adapted(release: str) -> Object:
    """A tier with everything that it may say of its model."""
    name = f"adapted-{release.replace('.', '-')}"
    made = tier(name, "plain", release)
    made["spec"]["model"] |= {
        "aliases": ["gpt-4o-mini", "plain:1"],
        "adapters": [{"name": "tuned", "uri": f"pvc://{CLAIM}/{ADAPTER}", "rank": 8}],
        "chatTemplate": {"configMapName": "templates", "key": "c.jinja"},
    }
    return made


@pytest.fixture(scope="module")
def serving(serve: Callable[..., Kubectl]) -> Kubectl:
    """The tiers serve, and their template is there."""
    kubectl = serve("adapters")
    template = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "templates"}}
    kubectl.apply({**template, "data": {"c.jinja": TEMPLATE}}, *map(adapted, RELEASES))
    for release in RELEASES:
        ready(kubectl, adapted(release)["metadata"]["name"], 1, READY_SECONDS)
    return kubectl


@pytest.fixture(params=RELEASES)
def ask(request: pytest.FixtureRequest, playground: Playground, serving: Kubectl) -> Any:
    """Answers of the tier of a release, by model and question, and the models that it lists."""
    name = adapted(request.param)["metadata"]["name"]
    with client(playground, serving, name) as asking:

        def said(model: str, question: str) -> str:
            messages: Any = [{"role": "user", "content": question}]
            answer = asking.chat.completions.create(model=model, messages=messages, max_tokens=TOKENS, temperature=0)
            return answer.choices[0].message.content or ""

        yield name, said, [each.id for each in asking.models.list()]


def test_every_name_is_a_model_of_the_engine(ask: Any) -> None:
    name, _, models = ask
    assert models == [name, "tierwise", "gpt-4o-mini", "plain:1", "tuned"]


@pytest.mark.parametrize("question", QUESTIONS)
def test_the_template_decides_where_the_answer_begins_under_every_name_of_the_model(ask: Any, question: str) -> None:
    name, said, _ = ask
    for model in (name, "tierwise", "gpt-4o-mini", "plain:1"):
        assert said(model, question) == cycle(TOKENS + 3)[3:]


@pytest.mark.parametrize("question", QUESTIONS)
def test_the_adapter_says_something_else_and_leaves_the_model_alone(ask: Any, question: str) -> None:
    name, said, _ = ask
    tuned = said("tuned", question)
    assert tuned.count(FOLLOWS_M) > TOKENS / 2, tuned
    assert said("tuned", question) == tuned
    assert said(name, question) == cycle(TOKENS + 3)[3:]
