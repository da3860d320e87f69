"""Builds the JSON of answers to chat completions and completions, whole and streamed.

The shapes of vLLM's server (0.33). `Answer` is what all kinds of answers have in common, so that one handler serves
them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from tierwise_sim.confidence import chat_logprobs, completion_logprobs
from tierwise_sim.constrained import ToolCall
from tierwise_sim.openai_api import Call, JsonObject


class Answer(Protocol):
    """One request's answer. Events of a stream come as lists, in their order."""

    @property
    def id(self) -> str:
        """The id that the client sees."""
        ...

    @property
    def last_event(self) -> bytes:
        """What the stream ends with, after everything else."""
        ...

    def whole(self, call: Call, finish: str, used: JsonObject) -> JsonObject:
        """The answer of a request that does not stream. `finish` is the engine's reason."""
        ...

    def opening(self) -> Sequence[JsonObject]:
        """Before the first token."""
        ...

    def piece(self, call: Call, start: int, end: int, finish: str | None) -> Sequence[JsonObject]:
        """Tokens start..end, the last ones with the engine's finish reason."""
        ...

    def closing(self, call: Call, used: JsonObject) -> Sequence[JsonObject]:
        """After the last token."""
        ...


@dataclass(frozen=True, slots=True)
class ChatAnswer:
    """An answer to chat completions, or with `chat` false to completions."""

    id: str
    created: int
    model: str
    chat: bool
    tool_id: str = ""

    @property
    def last_event(self) -> bytes:
        """What the stream ends with."""
        return b"data: [DONE]\n\n"

    def whole(self, call: Call, finish: str, used: JsonObject) -> JsonObject:
        """The answer of a request that does not stream."""
        aborted = finish == "abort"  # it says nothing
        content = "" if aborted else call.text_between(0, len(call.answer))
        stop_reason = None if aborted else call.stop_reason
        choice: JsonObject = {"index": 0, "logprobs": None, "finish_reason": finish, "stop_reason": stop_reason}
        if not aborted:
            choice["logprobs"] = self._logprobs(call, 0, len(call.answer))
        if not self.chat:
            choice["text"] = content
        elif call.tool is None or aborted:
            choice["message"] = {"role": "assistant", "content": content, "refusal": None, "reasoning": None}
        else:
            choice["message"] = self._called(call, call.tool, finish)
            choice["finish_reason"] = call.tool.finish(finish)
        kind = "chat.completion" if self.chat else "text_completion"
        return {**self._head(kind), "choices": [choice], "usage": used}

    def opening(self) -> Sequence[JsonObject]:
        """Nothing: the role comes with the first token."""
        return ()

    def piece(self, call: Call, start: int, end: int, finish: str | None) -> Sequence[JsonObject]:
        """Tokens start..end."""
        first = [self._delta({"role": "assistant", "content": ""})] if self.chat and not start else []
        if call.tool is not None:
            return [*first, *self._call_pieces(call, call.tool, start, end, finish)]
        said = call.text_between(start, end)
        return [*first, self._said(said, finish, call.stop_reason, self._logprobs(call, start, end))]

    def _logprobs(self, call: Call, start: int, end: int) -> JsonObject | None:
        """Of tokens start..end, where they are asked for; calls of tools have none here."""
        if call.logprobs is None or call.tool is not None:
            return None
        tokens, values = call.answer[start:end], call.logprobs[start:end]
        if self.chat:
            return chat_logprobs(tokens, values)
        return completion_logprobs(tokens, values, len("".join(call.answer[:start])))

    def aborted(self) -> JsonObject:
        """The one piece of a streamed answer that says nothing."""
        return self._said("", "abort", None)

    def closing(self, call: Call, used: JsonObject) -> Sequence[JsonObject]:
        """The usage, when stream_options.include_usage is set."""
        if not call.include_usage:
            return ()
        return [{**self._stream_head(), "choices": [], "usage": used}]

    def _called(self, call: Call, tool: ToolCall, finish: str) -> JsonObject:
        message: JsonObject = {"role": "assistant", "content": None, "refusal": None, "reasoning": None}
        if tool.named or finish == "stop":  # a list that was cut cannot be read, and then there is no call
            arguments = call.arguments_between(0, len(call.answer))
            function = {"name": tool.name, "arguments": arguments}
            message["tool_calls"] = [{"id": self.tool_id, "type": "function", "function": function}]
        return message

    def _call_pieces(self, call: Call, tool: ToolCall, start: int, end: int, finish: str | None) -> list[JsonObject]:
        found = []
        if not start:
            named = {"id": self.tool_id, "type": "function", "index": 0, "function": {"name": tool.name}}
            found.append(self._delta({"content": None, "tool_calls": [named]}))
        if said := call.arguments_between(start, end):
            part = {"index": 0, "function": {"arguments": said}}
            found.append(self._delta({"content": None, "tool_calls": [part]}))
        if finish is not None:
            found.append(self._delta({}, tool.finish(finish), call.stop_reason))
        return found

    def _said(
        self, said: str, finish: str | None, stop_reason: str | None, logprobs: JsonObject | None = None
    ) -> JsonObject:
        content: JsonObject = {"delta": {"content": said}} if self.chat else {"text": said}
        return self._chunk({**content, "logprobs": logprobs}, finish, stop_reason)

    def _delta(self, delta: JsonObject, finish: str | None = None, stop_reason: str | None = None) -> JsonObject:
        return self._chunk({"delta": delta}, finish, stop_reason)

    def _chunk(self, said: JsonObject, finish: str | None, stop_reason: str | None) -> JsonObject:
        choice: JsonObject = {"index": 0, "logprobs": None, "finish_reason": finish, **said}
        if finish is not None:
            choice["stop_reason"] = stop_reason
        return {**self._stream_head(), "choices": [choice]}

    def _head(self, kind: str) -> JsonObject:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}

    def _stream_head(self) -> JsonObject:
        return self._head("chat.completion.chunk" if self.chat else "text_completion")
