"""Parses OpenAI requests for chat completions and completions, and decides what the answer says.

As vLLM's OpenAI-compatible server does (vllm/entrypoints/openai, 0.33), as pure functions: a body in, a `Call` or
an `ApiError` out. Nothing here knows about HTTP, time or the engine; the JSON of the answers is built elsewhere
(chat_answer.py, responses_api.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tierwise_sim import arithmetic
from tierwise_sim import tokens as text
from tierwise_sim.confidence import Confidence, Logprob
from tierwise_sim.constrained import BadConstraint, ToolCall, constraint
from tierwise_sim.settings import EngineSettings

JsonObject = dict[str, Any]


class ApiError(Exception):
    """A refused request: HTTP status and the body that vLLM sends with it."""

    def __init__(self, status: int, kind: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.body: JsonObject = error_body(status, kind, message, param)


def error_body(status: int, kind: str, message: str, param: str | None = None) -> JsonObject:
    """vLLM's ErrorResponse."""
    return {"error": {"message": message, "type": kind, "param": param, "code": status}}


def bad_request(message: str, param: str | None = None) -> ApiError:
    """HTTP 400 as vLLM's VLLMValidationError becomes."""
    return ApiError(400, "BadRequestError", message, param)


MOST_LOGPROBS = 20
REJECTED = {
    "max_num_queued_reqs": "The engine is currently busy and cannot accept new requests. "
    "Please try again later or on a different instance.",
    "max_num_queued_tokens": "The engine has reached its prefill token backlog limit. "
    "Please try again later or on a different instance.",
}


@dataclass(frozen=True, slots=True)
class Answering:
    """How answers are made: the engine's limits, names that are served, and how long answers are.

    `embeds`: the engine was started to embed, and generates nothing. `stores`: responses are kept, so that others can
    go on from them. `skill`: what of arithmetic it answers rightly (arithmetic.py); None is an answer of mere words.
    """

    settings: EngineSettings
    served_names: tuple[str, ...]
    mean_output_tokens: int
    seed: int
    cached_token_details: bool = False
    embeds: bool = False
    stores: bool = False
    skill: arithmetic.Skill | None = None
    confidence: Confidence = field(default_factory=Confidence)


@dataclass(frozen=True, slots=True)
class Call:
    """One understood request with the answer it will get, decided beforehand."""

    chat: bool
    stream: bool
    include_usage: bool
    prompt: Sequence[str]
    answer: Sequence[str]
    visible: int
    finish: str
    stop_reason: str | None
    max_tokens: int | None
    salt: str
    tool: ToolCall | None = None
    logprobs: Sequence[Logprob] | None = None
    """Of the answer's tokens, where they are asked for."""

    def text_between(self, start: int, end: int) -> str:
        """The answer's text for tokens start..end; a stop string and what follows it are not shown."""
        if end < len(self.answer) or self.stop_reason is None:
            return "".join(self.answer[start:end])
        return "".join(self.answer[start:])[: max(0, self.visible - len("".join(self.answer[:start])))]

    def arguments_between(self, start: int, end: int) -> str:
        """What tokens start..end say of a tool call's arguments; "" where the answer is none."""
        if self.tool is None:
            return ""
        begun = len("".join(self.answer[:start]))
        return self.tool.arguments_between(begun, begun + len("".join(self.answer[start:end])))


def _optional_int(body: Mapping[str, Any], name: str) -> int | None:
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise bad_request(
            f"1 validation error:\n  {{'loc': 'body.{name}', 'msg': 'Input should be a valid integer'}}", name
        )
    return value


def _alternatives(body: Mapping[str, Any], chat: bool) -> int | None:
    """How many other tokens come with the log-probability of each; None where none is asked for."""
    asked = _optional_int(body, "top_logprobs" if chat else "logprobs")
    if chat and not body.get("logprobs"):
        if asked:
            raise bad_request("when using `top_logprobs`, `logprobs` must be set to true.", "top_logprobs")
        return None
    if asked is not None and not 0 <= asked <= MOST_LOGPROBS:
        raise bad_request(f"Requested sample logprobs of {asked}, which is greater than max allowed: {MOST_LOGPROBS}")
    return (asked or 0) if chat else asked


def parse_prompt(body: Mapping[str, Any], chat: bool) -> list[str]:
    """The prompt's tokens; raises ApiError when it is missing, not text, or several prompts in one request."""
    if chat:
        messages = body.get("messages")
        if not isinstance(messages, list) or not messages or not all(isinstance(m, dict) for m in messages):
            raise bad_request("1 validation error:\n  {'loc': 'body.messages', 'msg': 'Field required'}", "messages")
        try:
            return text.chat_tokens(messages)
        except ValueError as error:
            raise bad_request(str(error), "messages") from error
    prompt = body.get("prompt")
    if isinstance(prompt, list) and len(prompt) == 1:
        prompt = prompt[0]
    if not isinstance(prompt, str) or not prompt:
        raise bad_request(
            "1 validation error:\n  {'loc': 'body.prompt', 'msg': 'one non-empty text prompt is simulated'}", "prompt"
        )
    return ["<|begin|>", *text.pieces(prompt)]


def _stops(body: Mapping[str, Any]) -> list[str]:
    stop = body.get("stop")
    stops = [stop] if isinstance(stop, str) else stop or []
    if not isinstance(stops, list) or not all(isinstance(item, str) and item for item in stops):
        raise bad_request("stop cannot contain an empty string.", "stop")
    return stops


def _check_sampling(body: Mapping[str, Any], settings: EngineSettings) -> None:
    if body.get("n") not in (None, 1):
        raise bad_request("n > 1 is not simulated", "n")
    if settings.speculation is not None and (body.get("min_p") or body.get("logit_bias")):
        raise bad_request(
            "The min_p and logit_bias sampling parameters are not yet supported with speculative decoding."
        )


def _cut_at_stop(answer: list[str], stops: Sequence[str]) -> tuple[list[str], int, str | None]:
    """(tokens until a stop string is complete, length of the text before it, the stop string)."""
    whole = "".join(answer)
    found = [(whole.find(stop), stop) for stop in stops if stop in whole]
    if not found:
        return answer, len(whole), None
    position, stop = min(found, key=lambda item: (item[0] + len(item[1]), item[1]))
    length = 0
    for index, token in enumerate(answer):
        length += len(token)
        if length >= position + len(stop):
            return answer[: index + 1], position, stop
    raise AssertionError("a stop string that was found lies within the answer")


def parse_call(body: object, chat: bool, answering: Answering) -> Call:
    """Understand a request body; raises ApiError with vLLM's status, type and words.

    The answer is decided here: how many tokens (the natural length, or max_tokens if that is less), which
    words, and why it ends.
    """
    if not isinstance(body, dict):
        raise bad_request("1 validation error:\n  {'loc': 'body', 'msg': 'Input should be a valid dictionary'}")
    settings = answering.settings
    model = body.get("model")
    if model and model not in answering.served_names:
        raise ApiError(404, "NotFoundError", f"The model `{model}` does not exist.", "model")
    _check_sampling(body, settings)
    stops = _stops(body)
    asked = _optional_int(body, "max_completion_tokens")
    if asked is None:
        asked = _optional_int(body, "max_tokens")
    if asked is None and not chat:
        asked = 16
    if asked is not None and asked > settings.max_model_len:
        raise bad_request(
            f"max_tokens={asked} cannot be greater than max_model_len={settings.max_model_len}. "
            "Please request fewer output tokens.",
            "max_tokens",
        )
    prompt = parse_prompt(body, chat)
    room = settings.max_model_len - len(prompt)
    if room < 0:
        raise bad_request(
            f"This model's maximum context length is {settings.max_model_len} tokens. However, your prompt "
            f"contains {len(prompt)} input tokens, which exceeds this limit even without any output tokens. "
            "Please reduce the length of the input prompt.",
            "input_tokens",
        )
    limit = room if asked is None else min(asked, room)
    if limit < 1:
        raise bad_request(f"max_tokens must be at least 1, got {limit}.", "max_tokens")
    answer, natural, tool = _answer(body, prompt, limit, answering) if chat else _free(body, prompt, limit, answering)
    answer, visible, stop = _cut_at_stop(answer, stops)
    options = body.get("stream_options")
    others = _alternatives(body, chat)
    return Call(
        chat=chat,
        stream=bool(body.get("stream")),
        include_usage=bool(isinstance(options, dict) and options.get("include_usage")),
        prompt=prompt,
        answer=answer,
        visible=visible,
        finish="stop" if stop is not None or natural <= limit else "length",
        stop_reason=stop,
        max_tokens=limit,
        salt=str(body.get("cache_salt") or ""),
        tool=tool,
        logprobs=None if others is None else answering.confidence.logprobs(prompt, len(answer), others),
    )


_Answer = tuple[list[str], int, ToolCall | None]


def _answer(body: Mapping[str, Any], prompt: Sequence[str], limit: int, answering: Answering) -> _Answer:
    """A chat's answer up to the limit, how many tokens it would have without one, and the tool call that it is."""
    try:
        asked = constraint(body, text.request_rng(prompt, answering.seed))
    except BadConstraint as error:
        raise bad_request(str(error), error.param) from error
    if asked is None:
        return _free(body, prompt, limit, answering)
    tokens = text.pieces(asked.text)
    return tokens[:limit], len(tokens), asked.call


def _free(body: Mapping[str, Any], prompt: Sequence[str], limit: int, answering: Answering) -> _Answer:
    """The same for an answer that may say anything."""
    rng = text.request_rng(prompt, answering.seed)
    natural = text.natural_length(answering.mean_output_tokens, rng)
    if (result := _result(body, prompt, answering)) is not None:
        ending = text.pieces(result)
        if body.get("ignore_eos"):  # who fixes the length gets the result within it
            natural = max(1, limit - len(ending))
        tokens = [*text.answer_tokens(natural, rng), *ending]
        return tokens[:limit], len(tokens), None
    if body.get("ignore_eos"):
        natural = limit + 1
    natural = max(natural, _optional_int(body, "min_tokens") or 0)
    return text.answer_tokens(min(natural, limit), rng), natural, None


def _result(body: Mapping[str, Any], prompt: Sequence[str], answering: Answering) -> str | None:
    """What the answer to an arithmetic prompt, or to a judge's, ends with; None without a skill, or for another
    prompt."""
    if answering.skill is None:
        return None
    # A generator of its own: how long the answer is must not tell whether it is right. As with sampling, another
    # `seed` of the request may give another answer.
    rng = text.request_rng([*prompt, "result", str(_optional_int(body, "seed") or 0)], answering.seed)
    asked = "".join(prompt)
    judged = arithmetic.judgement(asked, answering.skill, rng)
    return judged if judged is not None else arithmetic.conclusion(asked, answering.skill, rng)


def usage(prompt: int, completion: int, cached: int | None) -> JsonObject:
    """vLLM's UsageInfo; `cached` is None without --enable-prompt-tokens-details."""
    details = None if cached is None else {"cached_tokens": cached, "created_cache_tokens": None}
    return {
        "prompt_tokens": prompt,
        "total_tokens": prompt + completion,
        "completion_tokens": completion,
        "prompt_tokens_details": details,
    }


def model_list(answering: Answering, created: int) -> JsonObject:
    """The answer of GET /v1/models: one card per served name."""
    cards: list[JsonObject] = [
        {
            "id": name,
            "object": "model",
            "created": created,
            "owned_by": "vllm",
            "root": answering.settings.model,
            "parent": None,
            "max_model_len": answering.settings.max_model_len,
            "permission": [],
        }
        for name in answering.served_names
    ]
    return {"object": "list", "data": cards}
