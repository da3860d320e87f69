"""Makes one attempt at an answer: sends the request to one replica and passes its answer on to the client.

Nothing reaches the client before the answer is committed, so that an attempt that fails earlier can be made again
elsewhere. Everything that arrives is handled in callbacks; the request's task waits for one future.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from tierwise.routing.cost import Usage
from tierwise.routing.failover import Failure
from tierwise_router.answer import BOM, StreamReader, output_tokens, read_whole, repeats
from tierwise_router.cascade import MOST_HELD_SECONDS, Holding
from tierwise_router.client_connection import Reply
from tierwise_router.openai_error import error_json
from tierwise_router.upstream import Connection, UpstreamError

MOST_WHOLE_BYTES = 64 << 20
_ANSWERS = frozenset({"choices", "data", "object", "output"})
_LENGTHS = frozenset({"content-length", "transfer-encoding"})
PASSED_ON = ("content-type", "metadata", "openai-processing-ms", "openai-version")


class End(Enum):
    """How an attempt ended."""

    ANSWERED = "answered"
    """The client has got the whole answer."""
    REFUSED = "refused"
    """Upstream has answered with an error status, and the client has got nothing."""
    FAILED = "failed"
    """There is no answer, and the client has got nothing."""
    DROPPED = "dropped"
    """It was held and escalated: a dearer tier answers, and the client has got nothing."""
    BROKEN = "broken"
    """The answer ended too early, or badly, after the client had got some of it."""


@dataclass(slots=True)
class Result:
    """What came of an attempt. `status`, `headers` and `body` are upstream's, where it refused."""

    end: End
    failure: Failure | None = None
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    values: dict[str, Any] = field(default_factory=dict)
    usage: Usage | None = None
    output_events: int = 0
    response_id: str = ""
    first_content_at: float | None = None
    """Of the monotonic clock."""
    began_at: float = 0.0
    first_token_at: float | None = None
    """Like `first_content_at`, of an answer that was held."""
    dropped_tokens: int = 0
    """Tokens that were held and that the client has not got."""

    @property
    def first_content_seconds(self) -> float | None:
        """From the beginning of the attempt."""
        return None if self.first_content_at is None else self.first_content_at - self.began_at


class Attempt:
    """One request on one connection."""

    _reader: StreamReader
    """Of a streamed answer; there is none before its head has come."""

    def __init__(
        self,
        connection: Connection,
        reply: Reply,
        own_headers: Callable[[], list[tuple[str, str]]],
        on_begun: Callable[[], None],
        *,
        stream: bool,
        drop_usage: bool,
        secret: str | None = None,
    ) -> None:
        self._connection = connection
        self._reply = reply
        self._own_headers = own_headers
        self._on_begun = on_begun
        self._stream = stream
        self._secret = secret
        self._drop_usage = drop_usage
        self._streaming = False
        self._status = 0
        self._headers: dict[str, str] = {}
        self._parts: list[bytes] = []
        self._size = 0
        self._first_content_at: float | None = None
        self._told_events = 0
        self._last_token_at = 0.0
        self._started_at = 0.0
        self._client_slow = False
        self._unreadable = False
        self._begun = False
        self.reusable = False
        self.holding: Holding | None = None
        """What keeps the beginning of the answer back, if anything does."""
        self.on_commit: Callable[[], None] = lambda: None
        """Is told when the client gets the first of it: from then on nothing is asked for again."""
        self.done: asyncio.Future[Result] = asyncio.get_running_loop().create_future()

    @property
    def committed(self) -> bool:
        """Whether the client has got something of this answer."""
        return self._first_content_at is not None

    def send(self, request: bytes) -> None:
        """Begin."""
        self._started_at = self._last_token_at = time.monotonic()
        self._reply.on_pause(self._client_paused)
        self._connection.send(request, self)

    def abandon(self) -> Result:
        """End it if it has not ended, so that upstream stops working on it; what has come of it so far."""
        self._reply.on_pause(None)
        self._connection.abandon()
        if self.done.done() and not self.done.cancelled():
            return self.done.result()  # it ended just before
        # Not through the future: whoever was cancelled while waiting for it has cancelled it as well.
        return self._result(End.BROKEN, None)

    def check(self, now: float, first_token_seconds: float, token_gap_seconds: float) -> None:
        """Fail where upstream takes too long. A client that reads too slowly is not upstream's fault."""
        if self.done.done() or self._client_slow:
            return
        if self.holding is not None and self.holding.since is not None and self.holding.holds:
            self._check_held(self.holding, now, first_token_seconds, token_gap_seconds)
            return
        # An answer in one piece has no first token to wait for; its deadline is the request's.
        late = self._stream and not self.committed and now - self._started_at > first_token_seconds
        if late or (self.committed and now - self._last_token_at > token_gap_seconds):
            self._give_up(Failure.TIMEOUT, "no token in time")

    def expire(self) -> None:
        """Fail: the request's deadline has passed."""
        if not self.done.done():
            self._give_up(Failure.DEADLINE, "the deadline of the request has passed")

    def end(self) -> None:
        """Fail: the router ends, and waits for no answer any more."""
        if not self.done.done():
            self._give_up(Failure.ENDING, "the router ends and could not wait for the rest of this answer; ask again")

    # --- what the connection calls ----------------------------------------------------------------------------------

    def head_came(self, status: int, headers: dict[str, str]) -> None:
        """The head of the answer."""
        self._status, self._headers = status, headers
        if headers.get("content-encoding", "identity").lower() != "identity":
            if status < 400:
                self._give_up(Failure.PROTOCOL, "upstream compresses its answer, though it was asked not to")
                return
            self._unreadable = True
        events = headers.get("content-type", "").lower().startswith("text/event-stream")
        self._streaming = self._stream and status == 200 and events
        if self._streaming:
            self._reader = StreamReader(self._drop_usage, self._secret)

    def body_came(self, data: bytes) -> None:
        """Some of the answer."""
        if self.done.done():
            return
        if not self._streaming:
            self._keep(data)
            return
        self._events_came(data if self.holding is None else self.holding.feed(data, time.monotonic()))

    def _events_came(self, data: bytes) -> None:
        out = self._reader.feed(data)
        if self._reader.told_events != self._told_events:  # a comment is no token
            self._told_events = self._reader.told_events
            self._last_token_at = time.monotonic()
        if self.committed:
            self._reply.write(out)
        elif self.holding is not None and self.holding.dropped:
            self._drop()
        elif self._reader.error is not None and (self.holding is not None or not self._reader.committed):
            self._connection.abandon()
            self._resolve(self._result(End.FAILED, Failure.STREAM_ERROR, self._reader.error))
        else:
            self._keep(out)
            if self._reader.committed and not self.done.done():
                self._begin_unless_held()

    def answer_ended(self, reusable: bool) -> None:
        """The answer is complete, as HTTP sees it."""
        if self.done.done():
            return
        self.reusable = reusable
        if self._streaming:
            self._stream_ended()
        else:
            self._whole_ended(b"".join(self._parts))

    def failed(self, error: UpstreamError) -> None:
        """There will be no (more) answer."""
        if self.done.done():
            return
        if not self.committed:
            self._resolve(self._result(End.FAILED, error.failure))
        elif self._streaming and self._reader.done and self._reader.error is None:
            self._stream_ended()  # all was said; only the end of the message is missing
        else:
            self._broken(error.failure, str(error))

    # --- inside -----------------------------------------------------------------------------------------------------

    def _begin_unless_held(self) -> None:
        """The answer has content: pass it on, or drop it, or wait until that is decided."""
        if self.holding is None:
            self._begin()
            return
        self._tell_begun()
        if self._reader.finished or self._reader.done:
            self.holding.finish()
        if self.holding.dropped:
            self._drop()
        elif not self.holding.holds:
            self._begin()

    def _drop(self) -> None:
        self._tell_begun()
        self._connection.abandon()
        self._resolve(self._result(End.DROPPED, None))

    def _check_held(self, held: Holding, now: float, first_token_seconds: float, token_gap_seconds: float) -> None:
        """One that has begun and stands still is asked for elsewhere, since the client has seen nothing of it; one that
        is only slow is decided."""
        if now - self._last_token_at > min(token_gap_seconds, MOST_HELD_SECONDS):
            self._give_up(Failure.TIMEOUT, "no token in time")
        elif held.overdue(now, self._started_at + first_token_seconds):
            held.finish()
            if held.dropped:
                self._drop()
            elif self._reader.committed:
                self._begin_unless_held()

    def _keep(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > MOST_WHOLE_BYTES:
            self._give_up(Failure.PROTOCOL, "the answer is too large")
        elif not self._unreadable:
            self._parts.append(data)

    def _give_up(self, failure: Failure, message: str) -> None:
        self._connection.abandon()
        self.failed(UpstreamError(failure, message))

    def _begin(self) -> None:
        """The first content of a stream has come."""
        self._commit()
        self._reply.start(200, self._passed_on(), b"".join(self._parts).removeprefix(BOM))
        self._parts.clear()

    def _whole_ended(self, body: bytes) -> None:
        usage, values = read_whole(body)
        if self._unreadable:
            body = error_json(self._status, "upstream's error is compressed and cannot be read")
            self._headers = {**self._headers, "content-type": "application/json"}
        elif self._status >= 400 and repeats(body, self._secret):
            body = error_json(self._status, "upstream's error repeats a key and is not shown")
            self._headers = {**self._headers, "content-type": "application/json"}
        if self._status >= 400:
            self._resolve(self._result(End.REFUSED, Failure.STATUS, values, body))
        elif self._status >= 300:
            self._resolve(self._result(End.FAILED, Failure.PROTOCOL))  # nobody here follows it, and the client must not
        elif not values and self._delimited_by_eof:
            self._resolve(self._result(End.FAILED, Failure.RESET))
        elif values.get("error") and not _ANSWERS & values.keys():
            self._resolve(self._result(End.FAILED, Failure.STREAM_ERROR, values))
        else:
            if self.holding is not None:
                body = self.holding.whole(body, values)
            if self.holding is not None and self.holding.dropped:
                self._tell_begun()
                self._resolve(self._result(End.DROPPED, None, values, usage=usage))
                return
            if self._commit():
                self._reply.whole(self._status, self._passed_on(), body)
            self._resolve(self._result(End.ANSWERED, None, values, usage=usage))

    @property
    def _delimited_by_eof(self) -> bool:
        return not _LENGTHS & self._headers.keys() and self._status != 204

    def _stream_ended(self) -> None:
        if self.holding is not None:
            self._events_came(self.holding.end())
        rest = self._reader.end()
        if self.holding is not None and self._reader.well_ended:
            self.holding.finish()
        if not self.committed and self._reader.error is None and self._reader.committed and not self.done.done():
            self._begin_unless_held()
        if self.done.done():
            return
        if not self.committed and self._reader.committed:
            self._resolve(self._result(End.FAILED, Failure.RESET))  # it was held, and nobody has seen it
        elif not self.committed:
            # Nothing was said; the client is told so elsewhere.
            self._resolve(self._result(End.FAILED, Failure.STREAM_ERROR, self._reader.error or {}))
        elif self._reader.well_ended:
            self._reply.end(rest)
            self._resolve(self._result(End.ANSWERED, None))
        elif self._reader.hidden:
            self._broken(Failure.STREAM_ERROR, "the answer failed; upstream's error repeats a key and is not shown")
        elif self._reader.error is not None:
            # The error is in the stream, as upstream sent it.
            self._reply.end(rest)
            self._resolve(self._result(End.BROKEN, Failure.STREAM_ERROR))
        else:
            self._broken(Failure.RESET, "upstream ended its answer before it was complete")

    def _broken(self, failure: Failure, message: str) -> None:
        """Say within the stream that it has failed, and end without the terminator: no client takes it for complete.
        Half an event that came last is left out; it would make the error unreadable."""
        said = error_json(502, message, "router_ending" if failure is Failure.ENDING else "upstream_error")
        self._reply.write(b"%bdata: %b\n\n" % (b"\n\n" if self._reader.torn else b"", said))
        self._reply.cut()
        self._resolve(self._result(End.BROKEN, failure))

    def _commit(self) -> bool:
        self._first_content_at = self._last_token_at = time.monotonic()
        self._tell_begun()
        self.on_commit()
        return not self._reply.started

    def _tell_begun(self) -> None:
        if not self._begun:
            self._begun = True
            self._on_begun()

    def _passed_on(self) -> list[tuple[str, str]]:
        return [(name, self._headers[name]) for name in PASSED_ON if name in self._headers] + self._own_headers()

    def _client_paused(self, paused: bool) -> None:
        self._client_slow = paused
        if paused:
            self._connection.pause()
        else:
            self._last_token_at = time.monotonic()
            self._connection.resume()

    def _resolve(self, result: Result) -> None:
        if not self.done.done():
            self._reply.on_pause(None)
            self.done.set_result(result)

    def _result(
        self,
        end: End,
        failure: Failure | None,
        values: dict[str, Any] | None = None,
        body: bytes = b"",
        usage: Usage | None = None,
    ) -> Result:
        reader = self._reader if self._streaming else None
        held = self.holding
        dropped = held.tokens if held is not None and not self.committed else 0
        if end is End.DROPPED and usage is not None:
            dropped = usage.output
        output_events = _guess(usage, values or {}) if reader is None else reader.output_events
        return Result(
            end=end,
            failure=failure,
            status=self._status,
            headers=self._headers,
            body=body,
            values=values or {},
            usage=usage if reader is None else reader.usage,
            output_events=max(output_events, dropped),
            response_id=str((values or {}).get("id", "")) if reader is None else reader.response_id,
            first_content_at=self._first_content_at,
            began_at=self._started_at,
            first_token_at=None if held is None else held.since,
            dropped_tokens=dropped,
        )


def _guess(usage: Usage | None, values: dict[str, Any]) -> int:
    return output_tokens(values) if usage is None else 0
