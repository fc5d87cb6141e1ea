"""`tidegate serve`: runs the service, and optionally a simulated upstream and a separate metrics server."""

import contextlib
import json
import logging
import os
import signal
import socket
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import click

from tidegate import __version__
from tidegate.api.app import create_app
from tidegate.api.health import metrics_app
from tidegate.api.services import Services
from tidegate.cli.composition import services
from tidegate.cli.listeners import MAIN, METRICS, at_addresses_of, listening, sockets_from_systemd
from tidegate.cli.memory import keep_freed_memory, tune_garbage_collector
from tidegate.cli.part_settings import UpstreamKind, connection_limits
from tidegate.cli.process import hold_reload_signals, on_reload_signal, on_stop_signal, run
from tidegate.cli.reloading import Reloader
from tidegate.cli.service_manager import ServiceManager
from tidegate.gateway.gateway_errors import unread_request
from tidegate.http.server.listener import allow_many_connections, bind, url_of
from tidegate.http.server.server import HttpImplementation, HttpServer, serving
from tidegate.http.write_batching import WriteBatcher
from tidegate.identity.access import AccessRules
from tidegate.observe.logging.request_log import RequestLog, open_logs
from tidegate.observe.tracing.span_export import exporting
from tidegate.settings import Settings
from tidegate.stores.state_folder import StateFolder

__all__ = ["run_service"]

logger = logging.getLogger("tidegate.service")

_SYSTEMD_STATE = "STATE_DIRECTORY"
"""The variable in which systemd passes the folder of `StateDirectory=`."""
_EXAMPLE = "When an order arrives, check stock, charge the card, retry twice, then notify the warehouse"
_SIMULATED = """\
*** SIMULATED UPSTREAM: the built-in simulator invents every response, none comes from Claude.
*** Set ANTHROPIC_API_KEY and start without `--upstream simulator` for real responses."""


def run_service(load: Callable[[], Settings], *, simulated: bool, http: HttpImplementation = "tidegate") -> None:
    """Runs the service until SIGINT or SIGTERM. SIGHUP reloads the configuration.

    Args:
        load: reads the configuration, at the start and for each reload.
        simulated: whether the upstream is the built-in simulator.
        http: the HTTP server of the main address.

    Raises:
        ConfigurationError: an address is not available, or the service would be open to other machines.
    """
    hold_reload_signals()
    manager, inherited = ServiceManager.from_environment(os.environ), sockets_from_systemd(os.environ)
    load = at_addresses_of(inherited, load)
    settings = load()
    AccessRules.of(settings).check_bind(settings.host)
    AccessRules.for_metrics(settings)  # checks the metrics address
    state_dir = settings.state_dir or os.environ.get(_SYSTEMD_STATE)
    with contextlib.ExitStack() as sockets:
        state_folder = sockets.enter_context(StateFolder(Path(state_dir))) if state_dir else None
        listeners = sockets.enter_context(listening(settings, inherited))
        allow_many_connections()
        keep_freed_memory(os.environ)
        request_log = open_logs(settings.log_level, settings.log_format)
        try:
            run(
                _serve(
                    settings,
                    load,
                    request_log,
                    manager,
                    listeners,
                    state_folder,
                    simulated=simulated,
                    http=http,
                )
            )
        finally:
            request_log.flush()


async def _serve(
    settings: Settings,
    load: Callable[[], Settings],
    request_log: RequestLog,
    manager: ServiceManager,
    listeners: Mapping[str, socket.socket],
    state_folder: StateFolder | None,
    *,
    simulated: bool,
    http: HttpImplementation,
) -> None:
    main_socket, metrics_socket = listeners[MAIN], listeners.get(METRICS)
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(manager.watchdog())
        upstream: UpstreamKind = "claude"
        if simulated:
            from claude_simulator import SimulatorOptions  # noqa: PLC0415 - the relay does not need it
            from claude_simulator import create_app as create_simulator  # noqa: PLC0415 - as above

            upstream = "simulator"
            upstream_socket = bind("127.0.0.1", 0, "the simulator's host", "the simulator's port")
            await stack.enter_async_context(serving(HttpServer(create_simulator(SimulatorOptions()), upstream_socket)))
            own_url = {"upstream_url": url_of(upstream_socket)}
            settings, load_configured = settings.model_copy(update=own_url), load
            load = lambda: load_configured().model_copy(update=own_url)  # noqa: E731
        tracer_provider = await stack.enter_async_context(exporting(os.environ))
        write_batcher = WriteBatcher()
        parts = await stack.enter_async_context(
            services(settings, upstream, request_log, tracer_provider, write_batcher, state_folder, load)
        )
        if metrics_socket is not None and parts.exposition is not None:
            # Started first, so that it stops last: a final scrape includes the calls that end with the service.
            metrics = metrics_app(parts.exposition, lambda: AccessRules.for_metrics(parts.settings))
            await stack.enter_async_context(serving(HttpServer(metrics, metrics_socket)))
            parts.exposition = None
        limits, report = connection_limits(settings), None if parts.observer is None else parts.observer.event
        server = HttpServer(
            create_app(parts),
            main_socket,
            lifespan=True,
            http=http,
            limits=limits,
            report=report,
            write_batcher=write_batcher,
            error_response=unread_request,
        )
        await stack.enter_async_context(serving(server))

        reloader = parts.reloader
        if isinstance(reloader, Reloader):
            reloader.add(partial(_prepare_server, server))
            reloader.announce = manager.reloading
            await stack.enter_async_context(on_reload_signal(reloader.reload_on_signal))
        stopped = on_stop_signal(server.stop_now)
        tune_garbage_collector()
        click.echo(_greeting(parts, url_of(main_socket), url_of(metrics_socket or main_socket)))
        manager.ready(f"serving on {url_of(main_socket)}")
        await _drain(parts, server, manager, await stopped)


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
        f"  metrics     {metrics_url}/metrics",
        f"  upstream    {parts.settings.upstream_url}{'  (simulated)' if simulated else ''}",
        "try:",
        f"  curl -s {url}/api/workflows/generate -H 'content-type: application/json'{key} -d '{body}'",
    ]
    return "\n".join(lines)
