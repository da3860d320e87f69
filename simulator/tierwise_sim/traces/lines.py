"""Opens a trace's file and gives its rows with the numbers of their lines.

A message that names the line is worth more than speed, so lines are counted in bytes, before anything is decoded or
parsed. gzip is told by its first bytes, since names lie.
"""

from __future__ import annotations

import csv
import gzip
import json
import re
import zlib
from bisect import bisect_right
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import IO, Any

import orjson

from tierwise_sim.traces.errors import TraceError, at_line

GZIP = b"\x1f\x8b"
_BOM = b"\xef\xbb\xbf"
_SPACE = re.compile(r"\s*")
_JSON = "one JSON object per line, or a JSON array of objects"


def numbered(path: Path) -> Iterator[tuple[int, str]]:
    """Every line with its number, from 1. Raises TraceError: no such file, a damaged gzip file, no UTF-8."""
    line = 0
    try:
        with _open(path) as file:
            for line, raw in enumerate(file, start=1):
                try:
                    yield line, (raw.removeprefix(_BOM) if line == 1 else raw).decode()
                except UnicodeDecodeError as error:
                    raise at_line(path, line, f"byte {error.start + 1} is no UTF-8", "text") from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise at_line(path, line + 1, f"the gzip file is damaged ({error})", "a whole gzip file") from None
    except OSError as error:
        raise TraceError(f"{path}: cannot be read: {error.strerror or error}") from None


def _open(path: Path) -> IO[bytes] | gzip.GzipFile:
    with path.open("rb") as file:
        zipped = file.read(len(GZIP)) == GZIP
    return gzip.open(path, "rb") if zipped else path.open("rb")


def first_line(path: Path) -> str:
    """The first line that is not blank. Raises TraceError when there is none."""
    for _, line in numbered(path):
        if line.strip():
            return line.strip()
    raise TraceError(f"{path}: the file is empty; expected a trace")


def header(path: Path) -> list[str]:
    """The names in the first line of a CSV file. Raises TraceError when it is none."""
    try:
        return [name.strip() for name in next(csv.reader([first_line(path)]))]
    except csv.Error as error:
        raise at_line(path, 1, str(error), "CSV") from None


def table(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of a CSV file, by the names in its first line. Raises TraceError for a row of another width."""
    reader = csv.reader((line for _, line in numbered(path)), strict=True)
    names: list[str] = []
    try:
        for row in reader:
            if not any(row):
                continue
            if not names:
                names = [name.strip() for name in row]
                continue
            if len(row) != len(names):
                raise at_line(path, reader.line_num, f"{len(row)} columns", f"{len(names)}, as in the header")
            yield reader.line_num, dict(zip(names, row, strict=True))
    except csv.Error as error:
        raise at_line(path, reader.line_num, str(error), "CSV") from None


def is_json(line: str) -> bool:
    """Whether a file that begins with this line can be JSON, and so no CSV."""
    return line[:1] in ("{", "[")


def is_object(line: str) -> bool:
    """Whether this line is a JSON object of its own."""
    try:
        return isinstance(orjson.loads(line), dict)
    except orjson.JSONDecodeError:
        return False


def objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The JSON objects of a file: one per line, or over several lines, or in an array. Raises TraceError."""
    if not is_object(first_line(path)):
        document = Document(path)
        yield from ((document.line(at), found) for at, found in document.objects())
        return
    for line, text in numbered(path):
        if not text.strip():
            continue
        try:
            found = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            raise at_line(path, line, f"no JSON ({error})", _JSON) from None
        if not isinstance(found, dict):
            raise at_line(path, line, f"a JSON {type(found).__name__}", _JSON)
        yield line, found


class Document:
    """A file of JSON that is read whole, for objects that span lines: a place in it is an offset into its text."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.text = "".join(line for _, line in numbered(path))
        self._decoder = json.JSONDecoder()
        self._breaks = [at for at, letter in enumerate(self.text) if letter == "\n"]

    def line(self, at: int) -> int:
        """The line, from 1, of this offset."""
        return bisect_right(self._breaks, at - 1) + 1

    def objects(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """The objects of the file, one after another or in one array, each with its offset. Raises TraceError."""
        at = self._after_space(0)
        while at < len(self.text):
            if self.text[at] == "[":
                at = yield from self._elements(at)
            else:
                found, end = self._object(at)
                yield at, found
                at = end
            at = self._after_space(at)

    def elements(self, key: str, at: int) -> Iterator[tuple[int, dict[str, Any]]]:
        """The objects of the array under this key, in the object at this offset. Raises TraceError."""
        opening = re.compile(rf'"{re.escape(key)}"\s*:\s*\[').search(self.text, at)
        if opening is None:
            raise at_line(self._path, self.line(at), f"no array {key!r}", f"an array {key!r}")
        yield from self._elements(opening.end() - 1)

    def _elements(self, at: int) -> Generator[tuple[int, dict[str, Any]], None, int]:
        at = self._after_space(at + 1)
        while self.text[at : at + 1] != "]":
            found, end = self._object(at)
            yield at, found
            at = self._after_space(end)
            if self.text[at : at + 1] == ",":
                at = self._after_space(at + 1)
            elif self.text[at : at + 1] != "]":
                raise at_line(self._path, self.line(at), "the array does not end", "a comma or ]")
        return at + 1

    def _object(self, at: int) -> tuple[dict[str, Any], int]:
        try:
            found, end = self._decoder.raw_decode(self.text, at)
        except json.JSONDecodeError as error:
            raise at_line(self._path, error.lineno, f"no JSON ({error.msg})", _JSON) from None
        except (ValueError, RecursionError) as error:  # a number of thousands of digits, a thousand brackets
            raise at_line(self._path, self.line(at), f"JSON that cannot be read ({error})", _JSON) from None
        if not isinstance(found, dict):
            raise at_line(self._path, self.line(at), f"a JSON {type(found).__name__}", _JSON)
        return found, end

    def _after_space(self, at: int) -> int:
        found = _SPACE.match(self.text, at)
        return found.end() if found else at
