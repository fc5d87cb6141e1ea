"""The parts of the running service that a reload gives new settings."""

from collections.abc import Callable
from dataclasses import dataclass

from tidegate.ai_client import AIClient
from tidegate.api.services import Services
from tidegate.cli.budgets import BudgetKeeper
from tidegate.cli.composition.ledger import check_budgets
from tidegate.cli.composition.part_settings import UpstreamKind, limiter_config, relay_limits, upstream_key
from tidegate.core.claude.rate_limit_groups import DEFAULT_POOL
from tidegate.gateway.app import Gateway
from tidegate.http.client.transport import HttpTransport
from tidegate.identity.access import AccessRules
from tidegate.identity.identify import Identifier
from tidegate.observe.logging.request_log import RequestLog
from tidegate.observe.metrics.metrics_observer import MetricsObserver
from tidegate.rate_limiter import RateLimiter
from tidegate.settings import Settings
from tidegate.stores.switchable import SwitchableStore

__all__ = ["RunningParts"]


@dataclass(frozen=True, slots=True)
class RunningParts:
    """The parts whose settings are replaced together."""

    upstream: UpstreamKind
    services: Services
    store: SwitchableStore
    limiter: RateLimiter
    identifier: Identifier
    gateway: Gateway
    transport: HttpTransport
    ai_client: AIClient
    metrics: MetricsObserver
    request_log: RequestLog | None
    budgets: BudgetKeeper | None = None

    def prepare(self, new: Settings) -> Callable[[], None]:
        """Makes everything that new settings need. The returned function only puts it in place, which cannot fail.

        Raises:
            ConfigurationError: a value does not fit what was configured at runtime.
        """
        key, limits = upstream_key(new, self.upstream), relay_limits(new)
        access = AccessRules.of(new, key_store=self.services.key_store)
        config = limiter_config(new)
        self.limiter.reloaded(config)  # raises
        pools = {**new.named_pool_settings(), DEFAULT_POOL: config.pool_settings()}
        other_pools = new.messages_pool_settings()
        callers = [caller.caller() for caller in new.callers]
        rules = new.budget_rules()
        check_budgets(new)

        def apply() -> None:
            self.metrics.know(
                models=(new.model, new.fallback_model),
                pools=[pool.name for pool in new.pools],
                callers=[caller.label for caller in callers],
                classes=[caller.priority for caller in callers],
            )
            if self.request_log is not None:
                self.request_log.set_level(new.log_level)
            self.services.access = access
            self.identifier.configure(new.callers)
            self.gateway.configure(upstream_key=key, default_timeout_seconds=new.default_timeout_seconds, limits=limits)
            self.transport.configure(idle_timeout_seconds=new.stream_idle_seconds, max_connections=new.max_calls)
            self.ai_client.configure(key, new)
            self.limiter.reload(config)
            self.store.reload(pools, other_pools)
            self.store.limit_callers({caller.name: caller.limits for caller in callers})
            if self.budgets is not None and rules != self.services.settings.budget_rules():
                self.budgets.replace(rules)

        return apply
