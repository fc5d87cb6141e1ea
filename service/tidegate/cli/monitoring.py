"""`tidegate monitoring`: dashboards, alert rules and runbooks for an installation."""

from pathlib import Path

import click

from tidegate.core.domain.errors import ConfigurationError

__all__ = ["monitoring"]


@click.group()
def monitoring() -> None:
    """Dashboards, alert rules and runbooks."""


@monitoring.command("export")
@click.option("--into", type=click.Path(path_type=Path), required=True, help="Folder to write to.")
@click.option("--job", default="tidegate", help="Name of the scrape job.")
@click.option("--grafana-url", default="http://localhost:3000", help="Base URL of dashboard links.")
@click.option("--runbooks-url", help="Base URL of runbook links; default: the runbooks in the folder.")
@click.option(
    "--threshold",
    "thresholds",
    multiple=True,
    metavar="NAME=VALUE",
    help="Another threshold for alerts and panels; as often as needed.",
)
def export_files(into: Path, job: str, grafana_url: str, runbooks_url: str | None, thresholds: tuple[str, ...]) -> None:
    """Write Grafana dashboards, Prometheus rules, runbooks and Alertmanager's routes."""
    from tidegate.monitoring.export import export, set_thresholds  # noqa: PLC0415 - for this command only

    set_thresholds(thresholds)
    try:
        written = export(into, job=job, grafana_url=grafana_url, runbooks_url=runbooks_url)
    except OSError as error:
        raise ConfigurationError("--into", str(into), f"a folder that can be written to ({error.strerror})") from None
    for path in written:
        click.echo(path)
