"""`/api/system/…`: state and configuration of the limiter, and state of the generation client."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Annotated, Any, Final

from fastapi import APIRouter, Body, Request
from msgspec import structs
from starlette.exceptions import HTTPException

from tidegate.api.access import for_admins, for_callers_and_admins
from tidegate.api.bodies import ConfigureBody
from tidegate.api.examples import (
    CLIENT_STATUS_EXAMPLE,
    CONFIGURE_EXAMPLES,
    OLDER_LIMITER,
    RELOAD_EXAMPLE,
    STATUS_EXAMPLE,
    response_example,
)
from tidegate.api.routes.budgets import budgets_left
from tidegate.api.services import Services
from tidegate.core.claude.rate_limit_groups import DEFAULT_POOL, model_pool
from tidegate.core.domain.caller import Caller
from tidegate.core.domain.dimension import Dimension
from tidegate.core.domain.errors import ConfigurationError
from tidegate.core.domain.pool_settings import PoolSettings
from tidegate.core.domain.snapshots import PoolSnapshot
from tidegate.settings import AUTO, PoolLimits
from tidegate.settings.fields.field_types import MAX_BURST_SECONDS
from tidegate.settings.fields.pool_names import check_pool_name, is_model_id
from tidegate.stores.runtime_settings import SetAtRuntime, log_runtime_change

__all__ = ["AI_CLIENT_PATH", "CONFIGURE_PATH", "RELOAD_PATH", "STATUS_PATH", "system_router"]

STATUS_PATH: Final = "/api/system/rate-limiting/status"
CONFIGURE_PATH: Final = "/api/system/rate-limiting/configure"
RELOAD_PATH: Final = "/api/system/reload"
AI_CLIENT_PATH: Final = "/api/system/ai-client/status"

_POOL_FIELDS: Final = frozenset(PoolLimits.model_fields) - {"name", "model"}
"""Fields of `ConfigureBody` that limit a pool."""
_DEFAULT_FIELDS: Final = frozenset(ConfigureBody.model_fields) - {
    "pool",
    "model",
    "input_tokens_per_minute",
    "output_tokens_per_minute",
    "burst_seconds",
}
"""Fields of `ConfigureBody` that set the `default` limiter: those of `RateLimitConfig`."""


def system_router(services: Services) -> APIRouter:
    """The router of `/api/system`."""
    router = APIRouter(tags=["system"], route_class=for_callers_and_admins(services))
    admin_router = APIRouter(tags=["system"], route_class=for_admins(services))

    async def status(caller: Caller | None = None) -> dict[str, Any]:
        pools = sorted(await services.store.snapshot(), key=_traffic)
        return {
            "pools": {pool.pool: _pool_status(pool, _set_at_runtime(services, pool.pool)) for pool in pools},
            "older_limiter": OLDER_LIMITER,
            **({"budgets": left} if (left := budgets_left(services, caller)) else {}),
            **({} if services.shared_status is None else {"shared_store": structs.asdict(services.shared_status())}),
            **services.rate_limiter.get_stats(),
        }

    @router.get(
        STATUS_PATH,
        summary="State of the limiter and of every pool",
        responses=response_example(STATUS_EXAMPLE),
    )
    async def rate_limiting_status(request: Request) -> dict[str, Any]:
        """Returns all pools under `pools`, those with traffic first. The other fields are `get_stats()` of `default`.

        Pool `default` is the limiter of the older API. It limits workflow generations and `AIClient`, but no calls
        under `/v1`.

        Each dimension has its limit by source, the binding source, the level, and the share of the quota used in the
        last 1 and 10 minutes. Each class has its waiting requests and the wait of the oldest. `set_at_runtime` has the
        settings that `configure` has set in place of the configuration's, by whom and when.

        With a shared store, pools are as its leader reports them, about a second ago. `shared_store` says how old the
        report is, how many replicas share the limits, and whether this one leads, or is degraded. `budgets` are those
        of `/api/system/budgets`, if there are any.
        """
        return await status(getattr(request.state, "caller", None))

    @admin_router.post(
        CONFIGURE_PATH,
        summary="Change limits",
        responses=response_example({"changed_pool": "sonnet-5-5", **STATUS_EXAMPLE}),
    )
    async def configure(
        request: Request, body: Annotated[ConfigureBody, Body(openapi_examples=CONFIGURE_EXAMPLES)]
    ) -> dict[str, Any]:
        """Changes the given settings of a pool, and returns the status with the name of the changed pool.

        Changes apply at once, also to waiting requests, which keep their order. No bucket is refilled. An invalid value
        changes nothing. A value holds, also over a restart with a state folder, until it changes in the configuration.
        """
        by = request.state.admin
        changes = body.model_dump(exclude_unset=True)
        pool = await _named_pool(services, changes.pop("pool", None), changes.pop("model", None))
        if pool == DEFAULT_POOL:
            _configure_default(services, changes, by)
        else:
            _refuse_fields(changes, _POOL_FIELDS, "only for `default`, without `pool`")
            current = services.store.settings_now(pool)
            before, after = _limits_before_and_after(current, changes)
            limits = PoolLimits.model_validate({"name": pool, **after}).limits()
            await services.store.configure(pool, replace(current, limits=limits), by)
            log_runtime_change(pool, before, after, by)
            _record_limits(services, pool, before, after, by)
        return {"changed_pool": pool, **await status()}

    @admin_router.post(
        RELOAD_PATH,
        summary="Reload the configuration",
        responses=response_example(RELOAD_EXAMPLE),
    )
    async def reload(request: Request) -> dict[str, Any]:
        """Reads the configuration file and the files of secrets again. Applies all of it; nothing if it is invalid.

        `changes` are in effect. Those under `needs_restart` are not. Secrets are not shown.
        """
        if services.reloader is None:
            raise HTTPException(501, "this service has no configuration that can be reloaded")
        changes = await services.reloader.reload(request.state.admin)
        return {
            "changes": [change.as_json() for change in changes if not change.needs_restart],
            "needs_restart": [change.as_json() for change in changes if change.needs_restart],
        }

    @router.get(
        AI_CLIENT_PATH,
        summary="State of the client that generates workflows",
        responses=response_example(CLIENT_STATUS_EXAMPLE),
    )
    async def ai_client_status() -> dict[str, Any]:
        """Model, whether a key is configured, retry policy, counters."""
        return services.ai_client.status()

    router.include_router(admin_router)
    return router


async def _named_pool(services: Services, pool: str | None, model: str | None) -> str:
    """The pool that a configuration names, directly or by a model.

    Raises:
        ConfigurationError: the pool is unknown.
    """
    if model is not None:
        if pool is not None or not is_model_id(model):
            raise ConfigurationError("model", model, "a model's id, without `pool`")
        return model_pool(model)
    if pool is None or pool == DEFAULT_POOL:
        return DEFAULT_POOL
    present = {known.pool for known in await services.store.snapshot()}
    check_pool_name("pool", pool, sorted(present | {entry.name for entry in services.settings.pools}))
    return pool


def _traffic(pool: PoolSnapshot) -> tuple[bool, int, int]:
    """Sort key: pools with current calls first, then by the number of calls so far."""
    busy = pool.waiting + pool.in_flight
    return busy == 0, -busy, -pool.granted


def _configure_default(services: Services, changes: dict[str, Any], by: str) -> None:
    _refuse_fields(changes, _DEFAULT_FIELDS, "only together with `pool`")
    try:
        config = replace(services.rate_limiter.config, **changes)
    except ConfigurationError as error:
        if error.field == "max_delay" and "max_delay" not in changes:
            # Names the given value as the fault: the base delay exceeds the current maximum.
            allowed = f"0 to max_delay, which is {services.rate_limiter.config.max_delay}"
            raise ConfigurationError("base_delay", changes["base_delay"], allowed) from None
        raise
    before = asdict(services.rate_limiter.config)
    services.rate_limiter.update_config(config, by=by)
    _record_limits(services, DEFAULT_POOL, before, asdict(config), by)


def _record_limits(
    services: Services, pool: str, before: Mapping[str, object], after: Mapping[str, object], by: str
) -> None:
    """Records the limits that have changed, if there is a ledger."""
    changed = [name for name in after if before[name] != after[name]]
    if services.audit is not None and changed:
        old, new = ({name: values[name] for name in changed} for values in (before, after))
        services.audit.record(by, "configure", f"pool {pool}", old, new)


def _limits_before_and_after(
    current: PoolSettings, changes: dict[str, Any]
) -> tuple[dict[str, float | None], dict[str, float | None]]:
    """The fields of a pool's limits. Buckets keep their size in seconds unless `burst_seconds` is given."""
    limits = current.limits
    before = {f"{each}_per_minute": limits[each].per_minute if each in limits else None for each in Dimension}
    sizes = [60 * limit.capacity / limit.per_minute for limit in limits.values()]
    before["burst_seconds"] = min(max(sizes), MAX_BURST_SECONDS) if sizes else None
    return before, {**before, **{field: None if value == AUTO else value for field, value in changes.items()}}


def _refuse_fields(changes: dict[str, Any], known: frozenset[str], allowed: str) -> None:
    for field, value in changes.items():
        if field not in known:
            raise ConfigurationError(field, value, allowed)


def _set_at_runtime(services: Services, pool: str) -> Mapping[str, SetAtRuntime]:
    return services.rate_limiter.set_at_runtime if pool == DEFAULT_POOL else services.store.set_at_runtime(pool)


def _pool_status(pool: PoolSnapshot, set_at_runtime: Mapping[str, SetAtRuntime]) -> dict[str, Any]:
    status = asdict(pool)
    del status["pool"]
    status["set_at_runtime"] = {
        setting: {"by": origin.by, "unix_seconds": origin.unix_seconds} for setting, origin in set_at_runtime.items()
    }
    status["dimensions"] = {Dimension(entry.pop("dimension")): entry for entry in status["dimensions"]}
    return status
