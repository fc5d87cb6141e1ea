"""`/api/system/queue` shows the waiting requests."""

from typing import TYPE_CHECKING, Any, cast

from support.api_services import app_of, make_services
from support.asgi_client import Answer, call
from support.virtual_time import VirtualClock, run_virtual
from tidegate.api.services import Services
from tidegate.core.domain.caller import Caller, Priority
from tidegate.core.domain.demand import Demand
from tidegate.core.domain.dimension import ONE_REQUEST
from tidegate.identity.identify import key_hash
from tidegate.settings import CallerSettings, PoolLimits, Settings

if TYPE_CHECKING:
    from tidegate.stores.memory import MemoryStore

QUEUE = "/api/system/queue"
TEAM, NIGHTLY = Caller("team"), Caller("nightly", priority=Priority.BATCH)
POOLS = (
    PoolLimits(name="sonnet-5-5", requests_per_minute=60, burst_seconds=1),
    PoolLimits(name="haiku-5-5", requests_per_minute=30, burst_seconds=2),
)


def ask(services: Services, key: str = "") -> Answer:
    clock = cast("VirtualClock", services.clock)
    headers = {"x-api-key": key} if key else {}
    return run_virtual(call(app_of(services), "GET", QUEUE, headers=headers), clock)


def waiting(services: Services, pool: str, *callers: Caller) -> None:
    for number, caller in enumerate((TEAM, *callers)):
        cast("MemoryStore", services.store).reserve_now(f"{pool} {number}", Demand(pool, caller, ONE_REQUEST))


def group(caller: Caller, count: int, oldest: float, next_in: float, last_in: float, binding: str) -> dict[str, Any]:
    return {
        "priority": caller.priority,
        "caller": caller.name,
        "waiting": count,
        "tokens": 0,
        "oldest_seconds": oldest,
        "next_in_seconds": next_in,
        "last_in_seconds": last_in,
        "binding": binding,
    }


def test_nobody_waits() -> None:
    answer = ask(make_services())
    assert (answer.status, answer.json()) == (200, {"pools": {}})


def test_the_longest_queue_comes_first_and_shows_callers_and_classes() -> None:
    services = make_services(Settings(pools=POOLS))
    waiting(services, "haiku-5-5", TEAM)
    waiting(services, "sonnet-5-5", TEAM, NIGHTLY, TEAM)
    cast("VirtualClock", services.clock).advance(0.5)
    pools = ask(services).json()["pools"]
    assert [*pools] == ["sonnet-5-5", "haiku-5-5"]
    assert pools["haiku-5-5"] == {
        "waiting": 1,
        "groups": [group(TEAM, 1, 0.5, 1.5, 1.5, "requests")],
        "left_off": 0,
    }
    assert pools["sonnet-5-5"]["waiting"] == 3
    assert pools["sonnet-5-5"]["groups"] == [
        group(TEAM, 2, 0.5, 0.5, 1.5, "requests"),
        group(NIGHTLY, 1, 0.5, 2.5, 2.5, "queue"),
    ]


def test_callers_and_admins_may_see_it() -> None:
    settings = Settings(callers=(CallerSettings(name="web", key_sha256=key_hash("web-key")),), admin_key="admin-key")
    assert ask(make_services(settings), "web-key").status == 200
    assert ask(make_services(settings), "admin-key").status == 200
    assert ask(make_services(settings), "wrong").status == 401
