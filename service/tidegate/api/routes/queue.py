"""`/api/system/queue`: the waiting requests by class and caller, with their predicted waits."""

from dataclasses import asdict
from typing import Any, Final

from fastapi import APIRouter

from tidegate.api.access import for_callers_and_admins
from tidegate.api.examples import QUEUE_EXAMPLE, response_example
from tidegate.api.services import Services

__all__ = ["QUEUE_PATH", "queue_router"]

QUEUE_PATH: Final = "/api/system/queue"


def queue_router(services: Services) -> APIRouter:
    """The route that shows the queues."""
    router = APIRouter(tags=["system"], route_class=for_callers_and_admins(services))

    @router.get(
        QUEUE_PATH,
        summary="Waiting requests by class and caller, with their predicted waits",
        responses=response_example(QUEUE_EXAMPLE),
    )
    async def queue() -> dict[str, Any]:
        """Returns each pool with waiting requests, the longest queue first.

        Its groups are the callers of each class, those with the oldest request first. `oldest_seconds`: how long that
        has been waiting. `next_in_seconds` and `last_in_seconds`: when the oldest and the newest request will probably
        be admitted, or null while no limit is known. `binding`: what the oldest waits for. A pool shows at most 100
        groups; `left_off` requests wait in others.
        """
        queues = sorted(await services.store.queues(), key=lambda queue: -queue.waiting)
        return {
            "pools": {
                queue.pool: {
                    "waiting": queue.waiting,
                    "groups": [asdict(group) for group in queue.groups],
                    "left_off": queue.left_off,
                }
                for queue in queues
            }
        }

    return router
