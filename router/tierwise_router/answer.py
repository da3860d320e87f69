"""Reads an answer while it is passed on: when its content begins, what it cost, whether it ended well.

An answer is committed with its first content: text, reasoning, a tool call, a refusal. A role, an empty delta and a
comment are none, so that an attempt that fails before it can be made again elsewhere. `[DONE]` alone is not success:
vLLM sends it after an error too. And an end without `[DONE]`, or a `finish_reason` for every choice that has begun, is
a failure, whatever HTTP says.

Almost every event of a stream is the one before with another text. Such an event is known by its bytes and not parsed.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Any

import orjson

from tierwise.routing.cost import Usage, read_usage
from tierwise_router.sse import EventSplitter, data_of, ends_with_blank_line

BOM = b"\xef\xbb\xbf"
"""May begin a stream of events, and means nothing; clients that do not know it would miss the first event."""
_DONE = b"[DONE]"
_RESPONSE_ENDS = frozenset({"response.completed", "response.incomplete", "response.failed", "response.cancelled"})
_RESPONSE_IDLE = (".created", ".in_progress", ".queued", ".added", ".done")  # they frame the deltas, or repeat them
BYTES_PER_TOKEN = 4
_TEXTS = (b'"content":"', b'"text":"', b'"reasoning_content":"', b'"reasoning":"')
_VECTOR = b'"embedding"'
_VECTOR_BEGINS = re.compile(_VECTOR + rb"[ \t\r\n]*+:[ \t\r\n]*+\[")
_MUCH = 65_536
_NO_EVENT = b"\n"
"""Begins no event: an empty line ends one."""


class Kind(Enum):
    """What one event is."""

    IDLE = 0
    """A comment, a role, an empty delta: nothing a person reads."""
    CONTENT = 1
    USAGE_ONLY = 2
    """The extra event of include_usage."""
    ERROR = 3
    END = 4


class StreamReader:
    """Of one streamed answer. `drop_usage`: the client has not asked for the event with usage. `secret`: the key that
    upstream was asked with; an error that repeats it is left out (`hidden`)."""

    __slots__ = (
        "_begun",
        "_drop_usage",
        "_ended",
        "_like",
        "_response_ended",
        "_secret",
        "_splitter",
        "committed",
        "done",
        "error",
        "hidden",
        "output_events",
        "response_id",
        "told_events",
        "usage",
    )

    def __init__(self, drop_usage: bool, secret: str | None = None) -> None:
        self._drop_usage = drop_usage
        self._secret = secret
        self.hidden = False
        self._splitter = EventSplitter()
        self._like: tuple[bytes, bytes] = (_NO_EVENT, b"")
        self.committed = False
        self.done = False
        self._begun: set[int] = set()
        self._ended: set[int] = set()
        self._response_ended = False
        self.error: dict[str, Any] | None = None
        self.usage: Usage | None = None
        self.output_events = 0
        self.told_events = 0
        """All but comments and what else keeps a connection open without saying anything."""
        self.response_id = ""

    def feed(self, data: bytes) -> bytes:
        """What of it the client gets now."""
        if self._repeated(data) and self._splitter.between:
            self.told_events += 1
            self.output_events += 1
            return data
        torn = self._splitter.oversized
        events = self._splitter.feed(data)
        if not events:
            return b""
        if torn or self._splitter.oversized:
            return self._feed_pieces(events, torn)
        if len(events) == 1:
            return b"" if self._dropped(events[0]) else events[0]
        return b"".join([one for one in events if not self._dropped(one)])

    def end(self) -> bytes:
        """The stream has ended: what is left of it. An event that lacks only its blank line counts, half an event does
        not."""
        rest = self._splitter.rest()
        if not rest or self._splitter.oversized:
            return rest
        data = data_of(rest)
        if data is None or not (ends_with_blank_line(rest) or data == _DONE or _is_json(data)):
            return rest
        return b"" if self._dropped(rest) else rest

    @property
    def torn(self) -> bool:
        """Whether the client has got the beginning of an event and not its end."""
        return self._splitter.oversized

    @property
    def finished(self) -> bool:
        """Whether every choice that has begun has said why it ended."""
        return self._response_ended or (bool(self._ended) and self._begun <= self._ended)

    @property
    def well_ended(self) -> bool:
        """Whether the answer is complete."""
        return self.error is None and (self.done or self.finished)

    def _feed_pieces(self, events: list[bytes], torn: bool) -> bytes:
        kept = []
        last = len(events) - 1
        for position, event in enumerate(events):
            if torn and position == 0:
                self.told_events += 1
            elif self._splitter.oversized and position == last:
                self._note(Kind.CONTENT)
            elif self._dropped(event):
                continue
            kept.append(event)
        return b"".join(kept)

    def _repeated(self, event: bytes) -> bool:
        """Whether it is the event before again, one with content, but for a text that is neither empty nor escaped:
        then it says nothing else, and reading it would change nothing but the counts."""
        before, after = self._like
        if not (event.startswith(before) and event.endswith(after)):
            return False
        text = event[len(before) : -len(after)]
        return bool(text) and _is_plain(text)

    def _remember(self, event: bytes) -> None:
        """It had content, and nothing of what came before is remembered: the next may be the same with another text."""
        if not event.startswith(b"data: ") or b"\r" in event:
            return
        for name in _TEXTS:
            at = event.find(name)
            start = at + len(name)
            if at < 0 or event.find(name, start) >= 0:
                continue
            end = event.find(b'"', start)
            if end > start and _is_plain(event[start:end]):
                self._like = event[:start], event[end:]
            return

    def _dropped(self, event: bytes) -> bool:
        if self._repeated(event):
            self.told_events += 1
            self.output_events += 1
            return False
        kind = self._kind(event)
        self._note(kind)
        # Only the event before: with another between them, the usage of the earlier one would count no more.
        self._like = _NO_EVENT, b""
        if kind is Kind.CONTENT:
            self._remember(event)
        if kind is Kind.ERROR and repeats(event, self._secret):
            self.hidden = True
            return True
        return kind is Kind.USAGE_ONLY and self._drop_usage

    def _note(self, kind: Kind) -> None:
        if kind is not Kind.IDLE:
            self.told_events += 1
        if kind is Kind.CONTENT:
            self.output_events += 1
        if kind is Kind.CONTENT or kind is Kind.END:
            # What follows an error commits nothing, though it may have come with it in one read.
            self.committed = self.committed or self.error is None

    def _kind(self, event: bytes) -> Kind:
        data = data_of(event)
        if data is None and not self.told_events and event.startswith(BOM):
            data = data_of(event[len(BOM) :])
        if data is None:
            return Kind.IDLE
        if data == _DONE:
            self.done = True
            return Kind.END
        try:
            values = orjson.loads(data)
        except orjson.JSONDecodeError:
            return Kind.CONTENT  # not ours to judge: it is passed on
        if not isinstance(values, dict):
            return Kind.CONTENT
        kind = values.get("type")
        if isinstance(kind, str) and kind.startswith("response."):
            return self._response_kind(kind, values)
        error = values.get("error")
        if error or kind == "error":  # the latter is how /v1/responses says it
            self.error = error if isinstance(error, dict) else values if kind == "error" else {"message": str(error)}
            return Kind.ERROR
        return self._chunk_kind(values)

    def _chunk_kind(self, values: dict[str, Any]) -> Kind:
        choices = values.get("choices")
        if values.get("usage"):
            self.usage = read_usage(values["usage"], values.get("service_tier")) or self.usage
        if not isinstance(choices, list):
            return Kind.CONTENT
        if not choices:
            return Kind.USAGE_ONLY if values.get("usage") else Kind.IDLE
        kind = Kind.IDLE
        for choice in choices:
            if not isinstance(choice, dict):
                return Kind.CONTENT
            index = choice.get("index")
            number = index if isinstance(index, int) else 0
            if has_content(choice):
                kind = Kind.CONTENT
                self._begun.add(number)
            if choice.get("finish_reason"):
                self._ended.add(number)
                kind = Kind.END if kind is Kind.IDLE else kind
            if choice.get("usage"):  # inside the choice: seen of one provider
                self.usage = read_usage(choice["usage"], values.get("service_tier")) or self.usage
        return kind

    def _response_kind(self, kind: str, values: dict[str, Any]) -> Kind:
        response = values.get("response")
        if isinstance(response, dict) and isinstance(response.get("id"), str):
            self.response_id = response["id"]
        if kind in _RESPONSE_ENDS:
            if isinstance(response, dict):
                self.usage = read_usage(response.get("usage"), response.get("service_tier")) or self.usage
            self._response_ended = True
            if kind == "response.failed":
                error = response.get("error") if isinstance(response, dict) else None
                self.error = error if isinstance(error, dict) else {"message": "the response has failed"}
            return Kind.END
        return Kind.IDLE if kind.endswith(_RESPONSE_IDLE) else Kind.CONTENT


def _is_plain(text: bytes) -> bool:
    """Whether it ends neither a JSON string nor a line, and nothing in it is escaped."""
    return b'"' not in text and b"\\" not in text and b"\n" not in text and b"\r" not in text


def repeats(said: bytes, secret: str | None) -> bool:
    """Whether an error says the key again that upstream was asked with."""
    return secret is not None and secret.encode() in said


def has_content(choice: dict[str, Any]) -> bool:
    """Whether a choice of a stream says something."""
    delta = choice.get("delta")
    if isinstance(delta, dict):
        return any(value for name, value in delta.items() if name != "role")
    return bool(choice.get("text"))


def _is_json(data: bytes) -> bool:
    try:
        orjson.loads(data)
    except orjson.JSONDecodeError:
        return False
    return True


def read_whole(body: bytes) -> tuple[Usage | None, dict[str, Any]]:
    """The usage of an answer that came as one JSON object, and its values ({} where it is none), vectors left out."""
    try:
        values = orjson.loads(_without_vectors(body.removeprefix(BOM)))
    except orjson.JSONDecodeError:
        return None, {}
    if not isinstance(values, dict):
        return None, {}
    return read_usage(values.get("usage"), values.get("service_tier")), values


def _without_vectors(body: bytes) -> bytes:
    """The same JSON with the vectors of embeddings emptied. Nobody here reads them, and a thousand of them would keep
    all other requests waiting for half a second."""
    if len(body) < _MUCH:
        return body
    parts, at, found = [], 0, body.find(_VECTOR)
    while found >= 0:
        begins = _VECTOR_BEGINS.match(body, found)
        start = found + len(_VECTOR) if begins is None else begins.end()
        end = -1 if begins is None else body.find(b"]", start)
        # Anything but numbers is not known here, and stays.
        if end >= 0 and body.find(b"[", start, end) < 0 and body.find(b'"', start, end) < 0:
            parts.append(body[at:start])
            at = start = end
        found = body.find(_VECTOR, start)
    return b"".join([*parts, body[at:]]) if parts else body


def output_tokens(values: dict[str, Any]) -> int:
    """A guess for an answer in one piece that does not say its usage: a token for every four bytes of its texts."""
    choices = values.get("choices")
    size = 0
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, dict):
            message = choice.get("message")
            said = list(message.values()) if isinstance(message, dict) else [choice.get("text")]
            size += sum(len(text.encode()) for text in said if isinstance(text, str))
    return -(-size // BYTES_PER_TOKEN)
