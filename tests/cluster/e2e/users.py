"""Users in closed loops against several tiers at once, from one process inside the playground.

Called with one JSON argument: {"seconds": 60, "tiers": [{"url": "http://10.201.0.9", "model": "small", "users": 2}]}.
Each user asks again as soon as it is answered, until the time is over or the process is ended.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from tierwise_sim.load import LoadClient, closed_loop
from tierwise_sim.workloads import Arrival

REQUEST = Arrival(at=0.0, prompt_tokens=100, output_tokens=100)


async def _tier(tier: dict[str, Any], seconds: float) -> None:
    async with LoadClient(tier["url"], tier["model"]) as client:
        await closed_loop(client, tier["users"], REQUEST, seconds, lambda _: None)


async def _all(order: dict[str, Any]) -> None:
    await asyncio.gather(*(_tier(tier, order["seconds"]) for tier in order["tiers"]))


if __name__ == "__main__":
    asyncio.run(_all(json.loads(sys.argv[1])))
