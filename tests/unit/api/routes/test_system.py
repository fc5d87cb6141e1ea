"""Status and configuration of limits, and the client's status."""

import logging
from collections.abc import Mapping
from typing import Any, cast

import pytest
from msgspec import structs

from support.api_services import app_of, make_services
from support.asgi_client import Answer, call
from support.recording_observer import RecordingObserver
from support.snapshots import shared_status
from support.virtual_time import VirtualClock, run_virtual
from tidegate.api.services import Services
from tidegate.core.domain.caller import DEFAULT_CALLER
from tidegate.core.domain.demand import Demand
from tidegate.core.domain.dimension import ONE_REQUEST, Dimension
from tidegate.core.domain.events import RequestFinished
from tidegate.core.domain.pool_settings import LimitSettings
from tidegate.identity.identify import key_hash
from tidegate.rate_limiter import RateLimitConfig
from tidegate.settings import CallerSettings, PoolLimits, Settings

STATUS = "/api/system/rate-limiting/status"
CONFIGURE = "/api/system/rate-limiting/configure"
CLIENT = "/api/system/ai-client/status"


def ask(
    services: Services,
    method: str,
    path: str,
    body: Any = None,
    *,
    peer: str = "127.0.0.1",
    key: str = "",
    headers: Mapping[str, str] | None = None,
) -> Answer:
    headers = {**(headers or {}), **({"x-api-key": key} if key else {})}
    clock = cast("VirtualClock", services.clock)
    return run_virtual(call(app_of(services), method, path, body=body, headers=headers, peer=peer), clock)


def configure(services: Services, **changes: Any) -> Answer:
    return ask(services, "POST", CONFIGURE, changes)


def test_the_status_has_what_get_stats_has_and_every_pool() -> None:
    services = make_services()
    answer = ask(services, "GET", STATUS)
    assert answer.status == 200
    status = answer.json()
    assert status["current_state"] == services.rate_limiter.get_stats()["current_state"]
    default = status["pools"]["default"]
    assert default["waiting"] == 0
    assert default["dimensions"]["requests"] == {
        "configured_per_minute": 20.0,
        "upstream_per_minute": None,
        "effective_per_minute": 20.0,
        "available": 5.0,
        "capacity": 5.0,
        "binding": "configured",
        "used_share_1_minute": 0.0,
        "used_share_10_minutes": 0.0,
    }


def test_pools_with_traffic_come_first() -> None:
    names = ("get_quiet", "get_used", "get_busy")
    services = make_services(Settings(pools=tuple(PoolLimits(name=name, requests_per_minute=600) for name in names)))
    store = services.store
    demand = Demand("get_quiet", DEFAULT_CALLER, ONE_REQUEST, settle_at_once=True)
    for pool, calls in (("get_quiet", 1), ("get_used", 3)):
        for _ in range(calls):
            cast("VirtualClock", services.clock).advance(60)
            assert store.try_admit("", structs.replace(demand, pool=pool))
    assert store.try_admit("in flight", structs.replace(demand, pool="get_busy", settle_at_once=False))
    status = ask(services, "GET", STATUS).json()
    assert [*status["pools"]] == ["get_busy", "get_used", "get_quiet", "default"]
    assert [*status][:2] == ["pools", "older_limiter"], "what limits calls under /v1 is seen before the older limiter"
    assert "no calls under /v1" in status["older_limiter"]


@pytest.mark.parametrize(
    ("changes", "pool"),
    [
        ({"requests_per_minute": 15}, "default"),
        ({"pool": "default", "requests_per_minute": 15}, "default"),
        ({"pool": "sonnet-5-5", "requests_per_minute": 15}, "sonnet-5-5"),
        ({"pool": "post_agents", "requests_per_minute": 15}, "post_agents"),
        ({"pool": "opus-5-5-fast", "input_tokens_per_minute": 15}, "opus-5-5-fast"),
        ({"model": "claude-saga-1-20270101", "requests_per_minute": 15}, "saga-1"),
        ({"model": "claude-opus-4-8", "requests_per_minute": 15}, "opus-4"),
    ],
)
def test_the_answer_names_the_changed_pool(changes: dict[str, Any], pool: str) -> None:
    answer = configure(make_services(), **changes).json()
    assert next(iter(answer)) == "changed_pool"
    assert answer["changed_pool"] == pool
    figures = answer["pools"][pool]["dimensions"].values()
    assert 15 in [each["configured_per_minute"] for each in figures]


def test_a_pool_that_has_carried_traffic_may_be_configured_by_its_name() -> None:
    services = make_services(Settings(pools=(PoolLimits.model_validate({"model": "claude-saga-2"}),)))
    assert configure(services, pool="saga-1", requests_per_minute=5).status == 422
    assert services.store.try_admit("", Demand("saga-1", DEFAULT_CALLER, ONE_REQUEST, settle_at_once=True))
    assert configure(services, pool="saga-1", requests_per_minute=5).status == 200
    assert configure(services, pool="saga-2", requests_per_minute=5).status == 200


def test_configuring_is_partial_and_answers_with_the_status() -> None:
    services = make_services()
    answer = configure(services, requests_per_minute=15, burst_limit=3, base_delay=3.0, max_delay=45.0)
    assert answer.status == 200
    assert services.rate_limiter.config == RateLimitConfig(
        requests_per_minute=15, burst_limit=3, base_delay=3.0, max_delay=45.0
    )
    assert answer.json()["configuration"]["requests_per_minute"] == 15
    assert answer.json()["pools"]["default"]["dimensions"]["requests"]["configured_per_minute"] == 15
    configure(services, jitter_factor=0.5)
    assert services.rate_limiter.config.burst_limit == 3


FAULTS: list[tuple[dict[str, Any], str, Any, str]] = [
    ({"requests_per_minute": 0}, "requests_per_minute", 0, "a number, 0.001 to 1,000,000,000, or auto"),
    ({"requests_per_minute": -1.5}, "requests_per_minute", -1.5, "a number, 0.001 to 1,000,000,000, or auto"),
    ({"requests_per_minute": float("nan")}, "requests_per_minute", "nan", "a number, 0.001 to"),
    ({"requests_per_minute": 1e-300}, "requests_per_minute", 1e-300, "a number, 0.001 to"),
    ({"pool": "sonnet-5-5", "requests_per_minute": 1e-300}, "requests_per_minute", 1e-300, "a number, 0.001 to"),
    ({"adaptive_floor": 1e-300}, "adaptive_floor", 1e-300, "0.001 to 1"),
    ({"requests_per_minute": "20"}, "requests_per_minute", "20", "number"),
    ({"requests_per_minute": True}, "requests_per_minute", True, "a number, 0.001 to"),
    ({"requests_per_minute": None}, "requests_per_minute", None, "a number, 0.001 to"),
    ({"requests_per_minute": "auto"}, "requests_per_minute", "auto", "number, 0.001 to"),
    ({"burst_limit": 0}, "burst_limit", 0, "whole number"),
    ({"burst_limit": 2.5}, "burst_limit", 2.5, "integer"),
    ({"base_delay": 31}, "base_delay", 31, "max_delay, which is 30"),
    ({"base_delay": 10, "max_delay": 5}, "max_delay", 5, "base_delay"),
    ({"base_delay": -1}, "base_delay", -1, "seconds"),
    ({"base_delay": float("nan")}, "base_delay", "nan", "seconds"),
    ({"max_delay": float("inf")}, "max_delay", "inf", "seconds"),
    ({"jitter_factor": 1.1}, "jitter_factor", 1.1, "0 to 1"),
    ({"jitter_factor": -0.1}, "jitter_factor", -0.1, "0 to 1"),
    ({"learning_rate": 1}, "learning_rate", 1, "below 1"),
    ({"adaptive_floor": 0}, "adaptive_floor", 0, "0.001 to 1"),
    ({"max_attempts": 0}, "max_attempts", 0, "whole number"),
    ({"rpm": 5}, "rpm", 5, "no field of this name"),
    ({"burst_seconds": 5}, "burst_seconds", 5, "together with `pool`"),
    ({"pool": "sonnet-5-5", "burst_limit": 5}, "burst_limit", 5, "without `pool`"),
    ({"pool": "sonnet-5-5", "burst_seconds": 3_601}, "burst_seconds", 3_601, "0.001 to 3,600"),
    ({"pool": "claude-haiku-4-5", "requests_per_minute": 5}, "pool", "claude-haiku-4-5", "did you mean haiku-4-5?"),
    ({"pool": "sonet-5-5", "requests_per_minute": 5}, "pool", "sonet-5-5", "did you mean sonnet-5-5?"),
    ({"model": "not a model", "requests_per_minute": 5}, "model", "not a model", "a model's id"),
    ({"model": "claude-opus-5", "pool": "opus-5"}, "model", "claude-opus-5", "without `pool`"),
    ({"pool": "Not A Pool", "requests_per_minute": 5}, "pool", "Not A Pool", "match"),
    (
        {"pool": "sonnet-5-5", "input_tokens_per_minute": 0},
        "input_tokens_per_minute",
        0,
        "a number, 0.001 to 1,000,000,000, or auto",
    ),
]


@pytest.mark.parametrize(("changes", "field", "given", "allowed"), FAULTS)
def test_a_fault_is_named_and_changes_nothing(changes: dict[str, Any], field: str, given: Any, allowed: str) -> None:
    services = make_services()
    before = ask(services, "GET", STATUS).json()
    answer = configure(services, **changes)
    assert (answer.status, answer.headers["content-type"]) == (422, "application/problem+json")
    fault = answer.json()["errors"][0]
    assert (fault["field"], fault["given"]) == (field, given)
    assert allowed in fault["allowed"]
    assert ask(services, "GET", STATUS).json() == before


def test_a_pool_gets_limits_of_its_own_and_keeps_what_is_not_given() -> None:
    services = make_services()
    configure(services, pool="sonnet-5-5", requests_per_minute=60, burst_seconds=30)
    assert services.store.settings_now("sonnet-5-5").limits == {Dimension.REQUESTS: LimitSettings(60, 30)}
    answer = configure(services, pool="sonnet-5-5", input_tokens_per_minute=6_000)
    assert services.store.settings_now("sonnet-5-5").limits == {
        Dimension.REQUESTS: LimitSettings(60, 30),
        Dimension.INPUT_TOKENS: LimitSettings(6_000, 3_000),
    }
    assert answer.json()["pools"]["sonnet-5-5"]["dimensions"]["input_tokens"]["configured_per_minute"] == 6_000
    configure(services, pool="sonnet-5-5", requests_per_minute="auto", input_tokens_per_minute="auto")
    assert services.store.settings_now("sonnet-5-5").limits == {}
    assert services.rate_limiter.config.requests_per_minute == 20


def test_the_status_has_who_set_a_value_and_when() -> None:
    ops = CallerSettings(name="ops", key_sha256=key_hash("ops-key"), admin=True)
    services = make_services(Settings(callers=(ops,), admin_key="hunter2"))
    now = services.clock.wall_seconds()
    ask(services, "POST", CONFIGURE, {"pool": "sonnet-5-5", "requests_per_minute": 60}, key="ops-key")
    pools = ask(services, "POST", CONFIGURE, {"base_delay": 3.0, "burst_limit": 5}, key="hunter2").json()["pools"]
    by_ops, by_key = ({"by": by, "unix_seconds": pytest.approx(now)} for by in ("ops", "the admin key"))
    assert pools["sonnet-5-5"]["set_at_runtime"] == {"requests_per_minute": by_ops}
    assert pools["default"]["set_at_runtime"] == {"base_delay": by_key}, "a burst of 5 is the configuration's"
    services.rate_limiter.update_config(RateLimitConfig(base_delay=4.0))  # type: ignore[call-arg] # as older programs do
    by_program = {"by": "update_config()", "unix_seconds": pytest.approx(now)}
    pools = ask(services, "GET", STATUS, key="hunter2").json()["pools"]
    assert pools["default"]["set_at_runtime"] == {"base_delay": by_program}


def test_each_change_is_one_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "tidegate.configure")
    services = make_services()
    configure(services, pool="sonnet-5-5", requests_per_minute=6_000, burst_seconds=30)
    configure(services, pool="sonnet-5-5", requests_per_minute="auto")
    configure(services, requests_per_minute=15, burst_limit=3)
    configure(services, requests_per_minute=15)
    configure(services, requests_per_minute=0)
    assert caplog.messages == [
        "configured pool sonnet-5-5: requests_per_minute auto → 6,000; burst_seconds auto → 30, by a local client",
        "configured pool sonnet-5-5: requests_per_minute 6,000 → auto, by a local client",
        "configured pool default: requests_per_minute 20 → 15; burst_limit 5 → 3, by a local client",
    ]


def test_the_clients_status_is_what_it_says() -> None:
    assert ask(make_services(), "GET", CLIENT).json() == {"model": "claude-sonnet-5-5", "configured": True}


def test_configuring_from_another_machine_needs_the_admin_key() -> None:
    open_to_admins = make_services(Settings(admin_key="hunter2"))
    assert ask(open_to_admins, "POST", CONFIGURE, {"burst_limit": 3}).status == 401
    assert ask(open_to_admins, "POST", CONFIGURE, {"burst_limit": 3}, key="wrong").status == 403
    assert open_to_admins.rate_limiter.config.burst_limit == 5
    assert ask(open_to_admins, "POST", CONFIGURE, {"burst_limit": 3}, key="hunter2").status == 200
    answer = ask(make_services(), "POST", CONFIGURE, {"burst_limit": 3}, peer="10.0.0.9")
    assert (answer.status, answer.headers["x-tidegate-cause"]) == (403, "forbidden")
    assert "TIDEGATE_ADMIN_KEY" in answer.json()["detail"]


def test_with_callers_the_status_is_for_callers_and_administrators() -> None:
    caller = CallerSettings(name="web", key_sha256=key_hash("caller-key"))
    observer = RecordingObserver()
    services = make_services(Settings(callers=(caller,), admin_key="hunter2"), observer=observer)
    for path in (STATUS, CLIENT):
        assert ask(services, "GET", path).status == 401
        assert ask(services, "GET", path, key="caller-key").status == 200
        assert ask(services, "GET", path, key="hunter2").status == 200
    callers = [event.caller.label for event in observer.of(RequestFinished)]
    assert callers == ["default", "web", "default"] * 2
    refused = ask(services, "POST", "/api/workflows/generate", {"prompt": "x"}, key="nobody's")
    assert (refused.status, refused.headers["x-tidegate-cause"]) == (401, "unauthenticated")
    assert ask(services, "POST", CONFIGURE, {"burst_limit": 3}, key="caller-key").status == 403


@pytest.mark.parametrize("forwarded", [{}, {"x-forwarded-for": "127.0.0.1"}, {"forwarded": "for=127.0.0.1"}])
def test_behind_a_proxy_configuring_needs_a_key(forwarded: dict[str, str]) -> None:
    """A proxy on this machine with nginx's defaults: a loopback peer, a loopback `Host`, no forwarded fields."""
    caller = CallerSettings(name="web", key_sha256=key_hash("caller-key"))
    answer = ask(make_services(Settings(callers=(caller,))), "POST", CONFIGURE, {"burst_limit": 3}, headers=forwarded)
    assert (answer.status, answer.headers["x-tidegate-cause"]) == (403, "forbidden")


def test_a_request_that_a_proxy_has_forwarded_does_not_come_from_this_machine() -> None:
    services = make_services()
    remote = {"x-forwarded-for": "203.0.113.5"}
    assert ask(services, "POST", CONFIGURE, {"burst_limit": 3}, headers=remote).status == 403
    trusting = make_services(Settings(trusted_proxies="10.0.0.9"))
    local = {"x-forwarded-for": "127.0.0.1"}
    assert ask(trusting, "POST", CONFIGURE, {"burst_limit": 3}, peer="10.0.0.9", headers=local).status == 200
    assert ask(trusting, "POST", CONFIGURE, {"burst_limit": 3}, peer="10.0.0.9", headers=remote).status == 403
    assert ask(trusting, "POST", CONFIGURE, {"burst_limit": 3}, peer="10.0.0.8", headers=local).status == 403


def test_the_status_has_the_state_of_a_shared_store_if_there_is_one() -> None:
    services = make_services()
    assert "shared_store" not in ask(services, "GET", STATUS).json()
    services.shared_status = lambda: shared_status(is_leader=True, replicas=3)
    found = ask(services, "GET", STATUS).json()["shared_store"]
    assert (found["is_leader"], found["replicas"], found["is_degraded"]) == (True, 3, False)
