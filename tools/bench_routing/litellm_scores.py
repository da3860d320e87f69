"""Asks LiteLLM's two local heuristics for the complexity of prompts; runs in LiteLLM's environment, not in ours.

It reads a JSON list of prompts from standard input and writes {"v1": [...], "v2": [...]}: the tier that LiteLLM would
choose (0 is the cheapest) and, as the digits behind the point, the score by which it chose. Both with their defaults.
"""

from __future__ import annotations

import json
import sys


def main() -> None:
    """Score and print."""
    from litellm.router_strategy.adaptive_router.classifier import classify_prompt
    from litellm.router_strategy.complexity_router.complexity_router import ComplexityRouter
    from litellm.router_strategy.complexity_router.config import TIER_SEVERITY_ORDER
    from litellm.router_strategy.complexity_router.tier_predictor import TierSuccessPredictor, resolve_tier_artifact

    prompts = json.load(sys.stdin)
    scorer = ComplexityRouter(model_name="any", ctx=None, complexity_router_config=None)
    predictor = TierSuccessPredictor(resolve_tier_artifact("ultrafeedback"))
    first, second = [], []
    for prompt in prompts:
        tier, score, _ = scorer.classify(prompt)
        first.append(TIER_SEVERITY_ORDER.index(tier) + _below_one(score))
        found = predictor.predict(prompt, classify_prompt(prompt))
        second.append(found.required_tier - 1 + _below_one(1 - found.probabilities[1]))
    json.dump({"v1": first, "v2": second}, sys.stdout)


def _below_one(score: float) -> float:
    """In the same order, between 0 and 1; LiteLLM's scores lie between -1 and 1."""
    return min(0.999, max(0.0, (score + 1) / 2))


if __name__ == "__main__":
    main()
