"""Draws savings as one HTML page that needs nothing else: no script, no font, no picture from elsewhere.

The plot is the waterfall of the terminal. A saving, a cost and a level differ in shade and pattern, so that the page
can be read in grey and on paper, and each bar has its figure beside it. On a narrow screen the names stand above their
bars.
"""

from __future__ import annotations

from html import escape

from tierwise.api.savings_status import SavingsStatus
from tierwise.html_page.bars import HATCH
from tierwise.html_page.document import bullets, common_style, document
from tierwise.report.savings_text import assumptions, steps, unused, verdict
from tierwise.report.waterfall import waterfall


def savings_as_page(name: str, savings: SavingsStatus, source: str) -> str:
    """The page. Everything that comes from elsewhere is escaped."""
    title = f"{name}: savings against {savings.reference_tier}"
    if savings.baseline:
        body = _body(savings)
    else:
        body = "".join(f'<p class="lead">Not known: {escape(note)}.</p>' for note in savings.notes)
    head = f'{HATCH}\n<h1>{escape(title)}</h1>\n<p class="below">From {escape(source)}.</p>\n'
    return document(title, common_style(), head + body)


def _body(savings: SavingsStatus) -> str:
    less = unused(savings)
    notes = [*([f"Nothing saved or cost: {', '.join(less)}."] if less else []), *assumptions(savings)]
    return (
        f'<p class="lead">{escape(verdict(savings))}</p>\n'
        f"{waterfall(steps(savings))}<section><h2>What is behind the figures</h2>\n{bullets(notes)}</section>\n"
    )
