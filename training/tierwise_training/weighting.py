"""Says how many requests each label stands for, where labels were sampled from a route at different rates.

A route samples answers of its cheaper tiers more often than those of its reference tier. Who took both as equals would
learn, and promise, for a traffic that has too few of the hard requests. So a label counts as the inverse of its rate
(Horvitz and Thompson). That makes the sample less certain than its number says: by Kish it counts as
(sum w)^2 / sum w^2 labels of one rate.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tierwise.errors import Invalid
from tierwise_training.labels import Label
from tierwise_training.model import Reals


def weights_of(labels: Sequence[Label]) -> Reals | None:
    """The weights, with a mean of 1; None where all labels stand for as many requests. Raises Invalid where only some
    say their rate."""
    rates = [each.sampling_rate for each in labels if each.sampling_rate is not None]
    if not rates:
        return None
    if len(rates) < len(labels):
        raise Invalid(
            f"{len(rates)} labels say how often requests like them are sampled, {len(labels) - len(rates)} do not: "
            "train from the labels of a route or from others, not from both"
        )
    weights = 1 / np.array(rates)
    return None if float(np.ptp(weights)) == 0 else weights / weights.mean()


def effective(weights: Reals | None, count: int) -> int:
    """As how many labels of one rate these count."""
    return count if weights is None else int(weights.sum() ** 2 / (weights @ weights))
