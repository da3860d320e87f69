"""Keeps the last minutes of one tier's requests: what autoscalers that go by latency look at."""

from __future__ import annotations

from collections import deque

LATENCY_SECONDS = 45.0
LENGTH_SECONDS = 300.0
P90 = 0.9


class Recent:
    """Of one tier. Times are seconds of the simulation."""

    def __init__(self) -> None:
        self.arrivals = 0
        self.last_success_at: float | None = None
        self._ttft: deque[tuple[float, float]] = deque()
        self._inter_token: deque[tuple[float, float]] = deque()
        self._lengths: deque[tuple[float, int, int]] = deque()

    def began(self, now: float, ttft: float) -> None:
        """A first token has come so long after its request."""
        self._ttft.append((now, ttft))
        while self._ttft[0][0] < now - LATENCY_SECONDS:
            self._ttft.popleft()

    def answered(self, now: float, inter_token: float | None, prompt_tokens: int, output_tokens: int) -> None:
        """A request has its answer. `inter_token`: None for an answer of one token."""
        self.last_success_at = now
        if inter_token is not None:
            self._inter_token.append((now, inter_token))
        self._lengths.append((now, prompt_tokens, output_tokens))
        while self._inter_token and self._inter_token[0][0] < now - LATENCY_SECONDS:
            self._inter_token.popleft()
        while self._lengths[0][0] < now - LENGTH_SECONDS:
            self._lengths.popleft()

    def ttft_p90(self, now: float) -> float | None:
        """Of the requests whose first token came in the last 45 s."""
        return _p90([seconds for at, seconds in self._ttft if at >= now - LATENCY_SECONDS])

    def inter_token_p90(self, now: float) -> float | None:
        """Of the requests that ended in the last 45 s."""
        return _p90([seconds for at, seconds in self._inter_token if at >= now - LATENCY_SECONDS])

    def mean_lengths(self, now: float) -> tuple[float, float] | None:
        """Tokens of prompt and answer, of the requests that ended in the last five minutes."""
        inside = [(prompt, output) for at, prompt, output in self._lengths if at >= now - LENGTH_SECONDS]
        if not inside:
            return None
        return sum(prompt for prompt, _ in inside) / len(inside), sum(output for _, output in inside) / len(inside)

    def take_arrivals(self) -> int:
        """Requests since this was asked last."""
        taken, self.arrivals = self.arrivals, 0
        return taken


def _p90(values: list[float]) -> float | None:
    if not values:
        return None
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(P90 * len(ordered)))]
