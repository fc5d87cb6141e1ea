"""`tidegate monitoring`: dashboards, alert rules and runbooks for an installation."""

from pathlib import Path
from typing import Annotated

import typer

from tidegate.core.domain.errors import ConfigurationError

__all__ = ["monitoring"]

monitoring = typer.Typer(name="monitoring", help="Dashboards, alert rules and runbooks.", no_args_is_help=True)


@monitoring.callback()
def _group() -> None:
    """Dashboards, alert rules and runbooks."""


@monitoring.command("export")
def export_files(
    into: Annotated[Path, typer.Option(help="Folder to write to.")],
    job: Annotated[str, typer.Option(help="Name of the scrape job.")] = "tidegate",
    grafana_url: Annotated[str, typer.Option(help="Base URL of dashboard links.")] = "http://localhost:3000",
    runbooks_url: Annotated[
        str | None, typer.Option(help="Base URL of runbook links; default: the runbooks in the folder.")
    ] = None,
    threshold: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Another threshold for alerts and panels; as often as needed."),
    ] = None,
) -> None:
    """Write Grafana dashboards, Prometheus rules, runbooks and Alertmanager's routes."""
    from tidegate.monitoring.export import export, set_thresholds  # noqa: PLC0415 - for this command only

    set_thresholds(threshold or ())
    try:
        written = export(into, job=job, grafana_url=grafana_url, runbooks_url=runbooks_url)
    except OSError as error:
        raise ConfigurationError("--into", str(into), f"a folder that can be written to ({error.strerror})") from None
    for path in written:
        typer.echo(path)
