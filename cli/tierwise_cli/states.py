"""Says of every word in the column STATUS how good it is: one table for colours and for `doctor`.

"good" is as it should be, also where nothing runs because nobody wants it; "moving" will be without anybody's help;
"doubtful" may need somebody; "bad" does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Class = Literal["good", "moving", "doubtful", "bad"]
STATES: Mapping[str, Class] = {
    "Degraded": "doubtful",
    "Deleting": "doubtful",
    "Empty": "doubtful",
    "External": "good",
    "Failed": "bad",
    "Full": "moving",
    "Idle": "good",
    "OverBudget": "doubtful",
    "Ready": "good",
    "Rejected": "bad",
    "Scaling": "moving",
    "Starting": "doubtful",
    "Stopped": "good",
    "Unknown": "doubtful",
    "Unmeasured": "doubtful",
}


def class_of(state: str) -> Class:
    """How good a state is; a word of a newer operator is doubtful."""
    return STATES.get(state, "doubtful")
