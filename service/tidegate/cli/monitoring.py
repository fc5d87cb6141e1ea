"""`tidegate monitoring`: exports dashboards, alert rules and runbooks for an installation."""

from pathlib import Path

import click

from tidegate.core.domain.errors import ConfigurationError

__all__ = ["monitoring"]


@click.group()
def monitoring() -> None:
    """Dashboards, alert rules and runbooks."""


@monitoring.command("export")
@click.option("--into", type=click.Path(path_type=Path), required=True, help="Destination folder.")
@click.option("--job", default="tidegate", help="Name of the scrape job.")
@click.option("--grafana-url", default="http://localhost:3000", help="Base URL of dashboard links.")
@click.option("--runbooks-url", help="Base URL of runbook links; default: the runbooks in the folder.")
@click.option(
    "--threshold",
    "thresholds",
    multiple=True,
    metavar="NAME=VALUE",
    help="Change a threshold of alerts and panels; repeatable.",
)
def export_files(into: Path, job: str, grafana_url: str, runbooks_url: str | None, thresholds: tuple[str, ...]) -> None:
    """Write Grafana dashboards, Prometheus rules, runbooks and Alertmanager routes."""
    from tidegate.monitoring.export import export, set_thresholds  # noqa: PLC0415 - for this command only

    set_thresholds(thresholds)
    try:
        written = export(into, job=job, grafana_url=grafana_url, runbooks_url=runbooks_url)
    except OSError as error:
        raise ConfigurationError("--into", str(into), f"a writable folder ({error.strerror})") from None
    for path in written:
        click.echo(path)
