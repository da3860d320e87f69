"""Makes a page: its head, sections, figures and tables. Every text is escaped here, so that no caller can forget it.

The policy in the head makes a browser refuse whatever is not in the file: a name that came through unescaped could
still load and run nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def document(title: str, style: str, body: str) -> str:
    """The page. `style` and `body` are CSS and HTML, `title` is text."""
    body = body.replace(" %", "\N{NO-BREAK SPACE}%")  # no line may begin with the sign
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n"
        "</body>\n</html>\n"
    )


def style_sheet(package: str, name: str) -> str:
    """The CSS of a file that lies beside a package's modules."""
    return files(package).joinpath(name).read_text(encoding="utf-8")


def common_style() -> str:
    """The CSS of headings, figures, tables, charts and bars."""
    return style_sheet("tierwise.html_page", "page.css")


def section(title: str, content: str, note: str = "") -> str:
    """A part of the page under a heading. `content` is HTML."""
    below = f'<p class="below">{escape(note)}</p>' if note else ""
    return f"<section><h2>{escape(title)}</h2>{content}{below}</section>"


def figures(shown: Iterable[tuple[str, str]]) -> str:
    """The few numbers that matter, each with what it says."""
    cells = "".join(f"<div><b>{escape(number)}</b><span>{escape(says)}</span></div>" for number, says in shown)
    return f'<div class="figures">{cells}</div>'


def table(head: Sequence[str], rows: Iterable[Sequence[str]], caption: str = "", kind: str = "") -> str:
    """A table whose first column names its rows. `kind`: "facts" for values that are words."""
    named = f"<caption>{escape(caption)}</caption>" if caption else ""
    named_kind = f' class="{kind}"' if kind else ""
    top = "".join(f'<th scope="col">{escape(each)}</th>' for each in head)
    below = "".join(
        f'<tr><th scope="row">{escape(row[0])}</th>{"".join(f"<td>{escape(each)}</td>" for each in row[1:])}</tr>'
        for row in rows
    )
    return f'<div class="scroll"><table{named_kind}>{named}<tr>{top}</tr>{below}</table></div>'


def bullets(notes: Iterable[str]) -> str:
    """Sentences, one below the other."""
    return f'<ul class="notes">\n{"".join(f"<li>{escape(note)}</li>{chr(10)}" for note in notes)}</ul>\n'
