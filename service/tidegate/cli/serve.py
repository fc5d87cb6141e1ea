"""`tidegate serve`: runs the service, and optionally a simulated upstream and a separate metrics server."""

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import click

from tidegate import __version__
from tidegate.api.app import create_app
from tidegate.api.routes.health import metrics_app
from tidegate.api.services import Services
from tidegate.cli.composition.ledger import state_dir_of, stored_keys
from tidegate.cli.composition.part_settings import UpstreamKind, connection_limits
from tidegate.cli.composition.reloading import Reloader
from tidegate.cli.composition.services import services
from tidegate.cli.hand_over import Continuity
from tidegate.cli.process.event_loop import hold_reload_signals, on_reload_signal, on_stop_signal, run
from tidegate.cli.process.listeners import (
    MAIN,
    METRICS,
    at_addresses_of,
    at_configured_addresses,
    listening,
    sockets_from_systemd,
)
from tidegate.cli.process.memory import keep_freed_memory, tune_garbage_collector
from tidegate.cli.process.service_manager import ServiceManager
from tidegate.core.domain.errors import ConfigurationError
from tidegate.gateway.gateway_errors import unread_request
from tidegate.http.server.listener import allow_many_connections, bind, url_of
from tidegate.http.server.server import HttpImplementation, HttpServer, serving
from tidegate.http.write_batching import WriteBatcher
from tidegate.identity.access import AccessRules
from tidegate.observe.logging.request_log import RequestLog, open_logs
from tidegate.observe.otlp.exports import exporting_logs, metric_export
from tidegate.observe.tracing.span_export import exporting
from tidegate.settings import Settings

__all__ = ["run_service"]

logger = logging.getLogger("tidegate.service")

_EXAMPLE = "When an order arrives, check stock, charge the card, retry twice, then notify the warehouse"
_SIMULATED = """\
*** SIMULATED UPSTREAM: the built-in simulator invents every response, none comes from Claude.
*** Set ANTHROPIC_API_KEY and start without `--upstream simulator` for real responses."""


def run_service(
    load: Callable[[], Settings], *, simulated: bool, http: HttpImplementation = "tidegate", take_over: bool = False
) -> None:
    """Runs the service until SIGINT or SIGTERM, or until another process takes over. SIGHUP reloads the configuration.

    Args:
        load: reads the configuration, at the start and for each reload.
        simulated: whether the upstream is the built-in simulator.
        http: the HTTP server of the main address.
        take_over: whether to take over from the process that uses the same state folder, if there is one.

    Raises:
        ConfigurationError: an address is not available, or the service would be open to other machines.
        TakeOverFailed: the running process does not hand over, and goes on.
    """
    hold_reload_signals()
    manager, inherited = ServiceManager.from_environment(os.environ), sockets_from_systemd(os.environ)
    load = at_addresses_of(inherited, load)
    settings = load()
    key_store = stored_keys(settings)
    AccessRules.of(settings, key_store=key_store).check_bind(settings.host)
    AccessRules.for_metrics(settings, key_store=key_store)  # checks the metrics address
    state_dir = state_dir_of(settings)
    if take_over and not state_dir:
        raise ConfigurationError("TIDEGATE_STATE_DIR", None, "the folder of the process that --take-over replaces")
    with contextlib.ExitStack() as stack:
        continuity = stack.enter_context(Continuity.of(Path(state_dir), take_over=take_over)) if state_dir else None
        listeners = None
        if continuity is None or not continuity.takes_over:
            listeners = stack.enter_context(listening(settings, inherited))
        allow_many_connections()
        keep_freed_memory(os.environ)
        request_log = open_logs(settings.log_level, settings.log_format)
        if take_over and listeners is not None:
            logger.info("no process to take over from in %s: starting as usual", state_dir)
        try:
            run(_serve(settings, load, request_log, manager, listeners, continuity, simulated=simulated, http=http))
        finally:
            request_log.flush()


async def _serve(
    settings: Settings,
    load: Callable[[], Settings],
    request_log: RequestLog,
    manager: ServiceManager,
    listeners: Mapping[str, socket.socket] | None,
    continuity: Continuity | None,
    *,
    simulated: bool,
    http: HttpImplementation,
) -> None:
    """Prepares everything, takes over from the running process if there is one, and serves."""
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(manager.watchdog())
        upstream: UpstreamKind = "claude"
        if simulated:
            upstream = "simulator"
            settings, load = await _simulated(stack, settings, load)
        tracer_provider = await stack.enter_async_context(exporting(os.environ))
        await stack.enter_async_context(exporting_logs(os.environ, request_log))
        write_batcher = WriteBatcher()
        parts = await stack.enter_async_context(
            services(
                settings,
                upstream,
                request_log,
                tracer_provider,
                write_batcher,
                continuity,
                load,
                metric_export(os.environ),
            )
        )
        metrics = None
        if parts.exposition is not None and (settings.metrics_port is not None or METRICS in (listeners or {})):
            metrics = metrics_app(
                parts.exposition, lambda: AccessRules.for_metrics(parts.settings, key_store=parts.key_store)
            )
            parts.exposition = None
        app = create_app(parts)
        await stack.enter_async_context(parts.join())
        if listeners is None:
            inherited = {} if continuity is None else await continuity.take_over()
            listeners = stack.enter_context(listening(settings, at_configured_addresses(settings, inherited)))
        if continuity is not None:
            await continuity.confirm()
        main_socket, metrics_socket = listeners[MAIN], listeners.get(METRICS)
        metrics_server = None
        if metrics is not None and metrics_socket is not None:
            # Started first, so that it stops last: a final scrape includes the calls that end with the service.
            metrics_server = HttpServer(metrics, metrics_socket)
            await stack.enter_async_context(serving(metrics_server))
        server = HttpServer(
            app,
            main_socket,
            lifespan=True,
            http=http,
            limits=connection_limits(settings),
            report=None if parts.observer is None else parts.observer.event,
            write_batcher=write_batcher,
            error_response=unread_request,
        )
        await stack.enter_async_context(serving(server))

        reloader = parts.reloader
        if isinstance(reloader, Reloader):
            reloader.add(partial(_prepare_server, server))
            reloader.announce = manager.reloading
            await stack.enter_async_context(on_reload_signal(reloader.reload_on_signal))
        stopped = on_stop_signal(partial(_stop_now, server, continuity))
        tune_garbage_collector()
        # Before it is ready: a process that is started then may take over.
        async with _handing_over(continuity, listeners) as handed_over:
            click.echo(_greeting(parts, url_of(main_socket), url_of(metrics_socket or main_socket)))
            manager.ready(f"serving on {url_of(main_socket)}")
            await _first_of(stopped, *([] if handed_over is None else [handed_over]))
        ends = asyncio.get_running_loop().time() + parts.settings.drain_seconds
        if handed_over is not None and handed_over.done():
            if metrics_server is not None:
                metrics_server.stop_listening()
            await _end_calls(parts, server)
        else:
            await _drain(parts, server, manager, await stopped)
        if continuity is not None:
            await continuity.leave(ends - asyncio.get_running_loop().time())


def _handing_over(
    continuity: Continuity | None, listeners: Mapping[str, socket.socket]
) -> "contextlib.AbstractAsyncContextManager[asyncio.Future[None] | None]":
    """As `Continuity.handing_over`; None without a state folder."""
    return contextlib.nullcontext() if continuity is None else continuity.handing_over(listeners)


async def _simulated(
    stack: contextlib.AsyncExitStack, settings: Settings, load: Callable[[], Settings]
) -> tuple[Settings, Callable[[], Settings]]:
    """Starts a simulated upstream. Returns the settings with its address, now and at each reload."""
    from claude_simulator import SimulatorOptions  # noqa: PLC0415 - the relay does not need it
    from claude_simulator import create_app as create_simulator  # noqa: PLC0415 - as above

    listener = bind("127.0.0.1", 0, "the simulator's host", "the simulator's port")
    await stack.enter_async_context(serving(HttpServer(create_simulator(SimulatorOptions()), listener)))
    own_url = {"upstream_url": url_of(listener)}
    return settings.model_copy(update=own_url), lambda: load().model_copy(update=own_url)


def _stop_now(server: HttpServer, continuity: Continuity | None) -> None:
    server.stop_now()
    if continuity is not None:
        continuity.stop_leading()


async def _first_of(*futures: "asyncio.Future[Any]") -> None:
    await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)


async def _end_calls(parts: Services, server: HttpServer) -> None:
    """Ends the calls of this process after another one has taken over. Nothing is refused: the address lives on."""
    logger.info("%d open calls have %g s to end", server.open_calls, parts.settings.drain_seconds)
    await server.drain(0, parts.settings.drain_seconds, awaits_idle=True)


def _prepare_server(server: HttpServer, settings: Settings) -> Callable[[], None]:
    return partial(setattr, server, "limits", connection_limits(settings))


async def _drain(parts: Services, server: HttpServer, manager: ServiceManager, number: signal.Signals) -> None:
    """Ends the calls before the service stops. Ctrl-C gives no notice, because there is no load balancer."""
    settings = parts.settings
    notice_seconds = settings.drain_notice_seconds if number == signal.SIGTERM else 0.0
    parts.draining = True
    calls = server.open_calls
    manager.stopping(f"draining: {calls} open calls when it began", notice_seconds + settings.drain_seconds)
    if calls:
        logger.warning(
            "stopping: waiting for %d open %s, for %g s at most; a second signal stops at once",
            calls,
            "call" if calls == 1 else "calls",
            settings.drain_seconds,
        )
    await server.drain(notice_seconds, settings.drain_seconds)


def _greeting(parts: Services, url: str, metrics_url: str) -> str:
    """The URLs of the service, and a command to try."""
    simulated = parts.upstream_kind == "simulator"
    key = ' -H "x-api-key: $YOUR_KEY"' if parts.settings.callers else ""
    body = json.dumps({"prompt": _EXAMPLE})
    lines = [
        *([_SIMULATED] if simulated else []),
        f"Tidegate {__version__} is ready",
        f"  Claude API  {url}  (base_url of any Anthropic SDK)",
        f"  generation  {url}/api/workflows/generate",
        f"  status      {url}/api/system/rate-limiting/status",
        f"  docs        {url}/docs",
        *([] if parts.ledger is None else [f"  usage       {url}/usage"]),
        f"  metrics     {metrics_url}/metrics",
        f"  upstream    {parts.settings.upstream_url}{'  (simulated)' if simulated else ''}",
        "try:",
        f"  curl -s {url}/api/workflows/generate -H 'content-type: application/json'{key} -d '{body}'",
    ]
    return "\n".join(lines)
