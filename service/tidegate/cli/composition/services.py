"""Creates all parts of the service, and connects them."""

import contextlib
import os
import random
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry

from tidegate import __version__
from tidegate.ai_client import AIClient
from tidegate.api.services import Services
from tidegate.cli.budgets import BudgetKeeper, running_budgets
from tidegate.cli.composition.ledger import open_ledger, warn_without_tenants
from tidegate.cli.composition.ledger import running as running_ledger
from tidegate.cli.composition.part_settings import UpstreamKind, limiter_config, relay_limits, upstream_key
from tidegate.cli.composition.reloading import Reloader
from tidegate.cli.composition.running_parts import RunningParts
from tidegate.cli.composition.shared_store import ServiceStore
from tidegate.cli.composition.tenants import tenants_of, with_tenants
from tidegate.cli.hand_over import Continuity
from tidegate.cli.process.background import background
from tidegate.core.domain.errors import ConfigurationError
from tidegate.core.domain.events import (
    Anomaly,
    BudgetReached,
    CircuitClosed,
    CircuitOpened,
    HeadRefused,
    RequestFinished,
)
from tidegate.core.ports.clock import Clock
from tidegate.core.pricing.call_prices import CallPrices
from tidegate.engine.admission import Admission
from tidegate.engine.clock import SteadyClock, SystemClock
from tidegate.gateway.app import Gateway
from tidegate.gateway.attempt.reachability import Reachability
from tidegate.gateway.batches.result_urls import BatchResultUrls
from tidegate.gateway.batches.results import BatchUsage
from tidegate.gateway.receive.request import BATCHES_ROUTE
from tidegate.http.asgi import App, Message, Receive, Send
from tidegate.http.client.proxy import proxy_for
from tidegate.http.client.transport import HttpTransport
from tidegate.http.request_id import new_request_id
from tidegate.http.write_batching import WriteBatcher
from tidegate.identity.access import AccessRules
from tidegate.identity.identify import Identifier
from tidegate.observe.logging.anomaly_log import AnomalyLog
from tidegate.observe.logging.budget_log import log_budget_reached
from tidegate.observe.logging.circuit_log import log_circuit_closed, log_circuit_opened
from tidegate.observe.logging.request_log import RequestLog
from tidegate.observe.metrics.collectors.budget_metrics import BudgetMetrics
from tidegate.observe.metrics.collectors.clock_watch import watch_clock
from tidegate.observe.metrics.collectors.granted_quota import QuotaCollector
from tidegate.observe.metrics.collectors.ledger_metrics import LedgerMetrics
from tidegate.observe.metrics.collectors.loop_lag import measure_loop_lag
from tidegate.observe.metrics.collectors.pool_collector import PoolCollector
from tidegate.observe.metrics.collectors.session_metrics import SessionMetrics
from tidegate.observe.metrics.exposition import Exposition, new_registry
from tidegate.observe.metrics.metrics_observer import MetricsObserver
from tidegate.observe.observers import Observers
from tidegate.observe.otlp.genai_metrics import GenAiMetrics
from tidegate.observe.tracing.span_observer import Tracing
from tidegate.observe.upkeep.upkeep_metrics import UpkeepMetrics
from tidegate.rate_limiter import RateLimiter, set_global_rate_limiter
from tidegate.settings import Settings
from tidegate.settings.known_names import is_configured
from tidegate.settings.prices import load_prices

if TYPE_CHECKING:
    from tidegate.ledger.ledger import Ledger
    from tidegate.observe.otlp.metric_export import MetricExport
    from tidegate.observe.tracing.span_provider import PresamplingProvider

__all__ = ["services"]


@contextlib.asynccontextmanager
async def services(
    settings: Settings,
    upstream: UpstreamKind,
    request_log: RequestLog | None = None,
    tracer_provider: "PresamplingProvider | None" = None,
    write_batcher: WriteBatcher | None = None,
    continuity: Continuity | None = None,
    load: Callable[[], Settings] | None = None,
    metric_export: "MetricExport | None" = None,
) -> AsyncIterator[Services]:
    """Yields the services of the routes, for the running event loop. Closes connections on exit.

    The rate limiter becomes the global one of the process.

    Args:
        settings: the configuration.
        upstream: the kind of upstream.
        request_log: writes a line per call; None disables it.
        tracer_provider: creates spans; None disables tracing.
        write_batcher: batches the writes of the server and the upstream's connections.
        continuity: restores and saves the state; None: a restart forgets it.
        load: reads the configuration again, for a reload; None disables reloads.
        metric_export: exports all metrics over OTLP; None disables it.
    """
    system_clock = SystemClock()
    clock = SteadyClock(system_clock)
    registry = new_registry(__version__, settings.revision, upstream)
    tracing = None if tracer_provider is None else _tracing(settings, tracer_provider, clock)
    prices = load_prices(settings.prices)
    metrics = MetricsObserver(
        registry,
        clock,
        models=(settings.model, settings.fallback_model),
        pools=[pool.name for pool in settings.pools],
        callers=[caller.name for caller in settings.callers],
        max_callers=settings.metric_callers,
        classes=[caller.priority for caller in settings.callers],
        prices=prices,
        exemplar=None if tracing is None else tracing.exemplar,
    )
    genai = GenAiMetrics(*_upstream_address(settings), metrics.model_label) if metric_export is not None else None
    stores = ServiceStore(settings, clock, registry)
    store = stores.store
    _register_pools(registry, stores, clock, metrics)
    ledger = open_ledger(settings, clock, prices)
    upkeep = _register_ledger(registry, ledger)
    if ledger is not None:
        ledger.key_store.on_callers = metrics.know_callers
    else:
        warn_without_tenants(settings)
    key_store = None if ledger is None else ledger.key_store
    call_prices = CallPrices(prices, clock.wall_seconds)
    keeper = None if ledger is None else BudgetKeeper(store, stores.memory, ledger.spending, call_prices)
    reachability = Reachability(settings.upstream_url, clock)
    observer = Observers(
        metrics.handlers,
        [(CircuitOpened, lambda _event: reachability.probe_soon())],
        [(Anomaly, AnomalyLog(clock).log)],
        [(CircuitOpened, log_circuit_opened), (CircuitClosed, log_circuit_closed)],
        [(RequestFinished, request_log.log), (HeadRefused, request_log.log)] if request_log else [],
        [] if ledger is None else ledger.handlers,
        [] if genai is None else genai.handlers,
        [] if keeper is None else keeper.handlers,
        SessionMetrics.registered(registry, clock).handlers,
        [*BudgetMetrics.registered(registry, store.budgets_now).handlers, (BudgetReached, log_budget_reached)],
        tracing=tracing,
    )
    admission = Admission(store, clock, observer, call_prices)
    if ledger is not None:
        ledger.pause_cache.on_pauses = admission.pause
        ledger.pauses.is_known = lambda kind, name: is_configured(parts.settings, kind, name)
    limiter = RateLimiter(limiter_config(settings), store=store, admission=admission)
    set_global_rate_limiter(limiter)
    if continuity is not None:
        upkeep.state_unreadable = not await continuity.attach(store, stores.memory, admission, limiter)
    key = upstream_key(settings, upstream)
    ai_client = AIClient(key, settings=settings, rate_limiter=limiter)
    _check_certificate_file(os.environ)
    transport = HttpTransport(
        settings.upstream_url,
        proxy=proxy_for(settings.upstream_url, os.environ),
        idle_timeout_seconds=settings.stream_idle_seconds,
        max_connections=settings.max_calls,
        write_batcher=write_batcher,
        watcher=reachability,
    )
    identifier = Identifier(settings.callers, key_store)
    tenants = None if ledger is None else tenants_of(settings, ledger.ownership, identifier)
    gateway = Gateway(
        admission,
        transport,
        identifier,
        upstream_key=key,
        upstream_kind=upstream,
        retry_policy=limiter.retry_policy,
        random=random.random,
        hop_id=uuid.uuid4().hex,
        default_timeout_seconds=settings.default_timeout_seconds,
        limits=relay_limits(settings),
        passes_trace_context=settings.trace_upstream,
        reachability=reachability,
        usage_sink=ledger if settings.ledger == "required" else None,
        tenants=tenants,
    )

    def trusts_proxy(peer: str | None) -> bool:
        return parts.access.proxies.trusts(peer)

    try:
        async with (
            running_ledger(ledger),
            running_budgets(keeper, settings, takes_over=continuity is not None and continuity.takes_over),
            background(
                measure_loop_lag(registry, clock),
                watch_clock(system_clock, observer.event),
                reachability.watch(transport.check),
            ),
            contextlib.nullcontext() if continuity is None else continuity.saver.saving(),
            contextlib.nullcontext()
            if metric_export is None or genai is None
            else metric_export.exporting(registry, genai.registry),
        ):
            parts = Services(
                settings=settings,
                store=store,
                rate_limiter=limiter,
                ai_client=ai_client,
                identifier=identifier,
                access=AccessRules.of(settings, key_store=key_store),
                gateway=with_tenants(
                    gateway,
                    _by_path(
                        gateway,
                        BatchResultUrls(
                            BatchUsage(gateway, identifier.identify, observer.event),
                            trusts_proxy,
                        ),
                    ),
                    tenants,
                    gateway.upstream_key,
                ),
                clock=clock,
                new_request_id=new_request_id,
                exposition=Exposition(registry),
                observer=observer,
                tracer_provider=tracer_provider,
                upstream_kind=upstream,
                reachability=reachability,
                shared_status=stores.status,
                join=partial(stores.joined, admission),
                ledger=ledger,
                key_store=key_store,
                keys=None if ledger is None else ledger.keys,
                pauses=None if ledger is None else ledger.pauses,
                audit=None if ledger is None else ledger.audit,
                price_sources=prices.sources,
            )
            if load is not None:
                parts.reloader = Reloader(load, parts, upkeep)
                running = RunningParts(
                    upstream,
                    parts,
                    store,
                    limiter,
                    identifier,
                    gateway,
                    transport,
                    ai_client,
                    metrics,
                    request_log,
                    keeper,
                )
                parts.reloader.add(running.prepare)
            yield parts
    finally:
        await transport.aclose()
        await ai_client.aclose()


def _register_ledger(registry: CollectorRegistry, ledger: "Ledger | None") -> UpkeepMetrics:
    """Exports the state of the ledger, if there is one, and what an operator must mend."""
    if ledger is None:
        upkeep = UpkeepMetrics()
    else:
        registry.register(LedgerMetrics(ledger.status, lambda: ledger.pause_cache.current))
        upkeep = UpkeepMetrics(ledger.key_store.next_end)
    registry.register(upkeep)
    return upkeep


def _register_pools(registry: CollectorRegistry, stores: ServiceStore, clock: Clock, metrics: MetricsObserver) -> None:
    """Exports the state of the pools with the other metrics."""
    snapshots = stores.snapshots(metrics)
    registry.register(PoolCollector(snapshots, metrics, stores.counts))
    registry.register(QuotaCollector(snapshots, clock, metrics, stores.counts))


def _by_path(gateway: App, batches: App) -> App:
    """Routes batch calls through their wrappers, and all other calls past them."""

    def serve(scope: Message, receive: Receive, send: Send) -> Awaitable[None]:
        return (batches if scope["path"].startswith(BATCHES_ROUTE) else gateway)(scope, receive, send)

    return serve


def _check_certificate_file(environment: Mapping[str, str]) -> None:
    """Refuses a missing SSL_CERT_FILE: OpenSSL would ignore it and then trust no certificate at all."""
    file = environment.get("SSL_CERT_FILE")
    if file and not Path(file).is_file():
        raise ConfigurationError("SSL_CERT_FILE", file, "an existing PEM file of certificates")


def _tracing(settings: Settings, provider: "PresamplingProvider", clock: Clock) -> Tracing:
    host, port = _upstream_address(settings)
    return Tracing(
        provider,
        clock,
        upstream_host=host,
        upstream_port=port,
        upstream_url=_without_user(settings.upstream_url),
        send_upstream=settings.trace_upstream,
        samples_next=provider.samples_next,
    )


def _without_user(url: str) -> str:
    """A base URL without a slash at its end, and without a user and password."""
    scheme, place, path, _, _ = urlsplit(url)
    return f"{scheme}://{place.rpartition('@')[2]}{path}".rstrip("/")


def _upstream_address(settings: Settings) -> tuple[str, int]:
    url = urlsplit(settings.upstream_url)
    return url.hostname or "", url.port or (443 if url.scheme == "https" else 80)
