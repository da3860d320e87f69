"""Holds one request on its way: what the client has said, how far it has come, and what has gone wrong so far."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

from tierwise.routing.conversation import Turn
from tierwise.routing.cost import estimate
from tierwise.routing.replica import Replica
from tierwise.routing.route import Priority, RouteTier
from tierwise_router.cascade import Cascading
from tierwise_router.client_connection import Reply
from tierwise_router.http_request import Request
from tierwise_router.openai_error import ClientError
from tierwise_router.record import Record
from tierwise_router.request_body import Body, Shape
from tierwise_router.tier import Wish

RESPONSES = "/v1/responses"


@dataclass(slots=True)
class Job:
    """One request on its way."""

    request: Request
    reply: Reply
    record: Record
    body: Body
    shape: Shape
    priority: Priority
    until: float
    error: ClientError | None = None
    tried: list[Replica] = field(default_factory=list)
    stale: bool = False  # a kept connection was closed under it: the next attempt takes a new one, to any replica
    capped: bool = False
    cascade: Cascading | None = None
    billed_as: str = ""
    """The service tier that the client asks for."""
    kept_by: str = ""
    """The replica that keeps the response which this one continues: no other can."""
    turn: Turn | None = None
    """Of a conversation whose tier is remembered."""
    copied: bool = False
    """The sample of it has a copy of the body until it ends."""

    def estimate(self, tier: RouteTier) -> Decimal:
        """US dollars that it may cost there."""
        shape = self.shape
        return estimate(shape.prompt_tokens, shape.max_tokens, tier.tariff, self.billed_as, shape.answers)

    def let_go(self) -> None:
        """The client gets its answer, so nothing is asked for again: the body's memory is for other requests. A copy
        of a sample takes as much of it as the body did."""
        self.body.let_go()
        self.shape.response_format = ""  # it is the client's word, of any length
        if not self.copied:
            self.reply.let_go()

    def wish(self, *, only: str = "") -> Wish:
        """What it wants of a tier."""
        return Wish(
            self.priority, self.shape.blocks, tuple(self.tried), only or self.kept_by, streamed=self.body.stream
        )
