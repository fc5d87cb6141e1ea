"""`tidegate reload`: asks the running service to reload its configuration."""

import json
import urllib.error
import urllib.request
from typing import Any, Final

import click

from tidegate.core.claude.header_names import API_KEY
from tidegate.http.server.listener import base_url
from tidegate.settings import load_settings

__all__ = ["reload"]

_PATH: Final = "/api/system/reload"
_SECONDS: Final = 30.0


@click.command()
@click.option("--url", help="URL of the service; default: from the configuration.")
@click.option("--json", "as_json", is_flag=True, help="Print the answer of the service as JSON.")
def reload(url: str | None, *, as_json: bool) -> None:
    """Reload the configuration of the running service, as SIGHUP does. Print what changed.

    The command sends the admin key of its own configuration: TIDEGATE_ADMIN_KEY, a file with it, or the configuration
    file. Nothing is sent if that configuration is invalid.
    """
    settings = load_settings().settings
    headers = {"content-type": "application/json"}
    if settings.admin_key is not None:
        headers[API_KEY] = settings.admin_key.get_secret_value()
    address = (url or base_url(settings.host, settings.port)).rstrip("/")
    answer = _post(f"{address}{_PATH}", headers)
    if as_json:
        click.echo(json.dumps(answer, indent=2, ensure_ascii=False))
        return
    for name, title in (("changes", "changed"), ("needs_restart", "needs a restart")):
        for change in answer[name]:
            click.echo(f"{title}: {_text(change)}")
    if not answer["changes"]:
        click.echo("nothing changed")


def _post(url: str, headers: dict[str, str]) -> Any:
    if not url.startswith(("http://", "https://")):
        raise click.BadParameter("must begin with http:// or https://", param_hint="--url")
    request = urllib.request.Request(url, b"", headers, method="POST")  # noqa: S310 - checked above
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # proxies are for other machines
    try:
        with opener.open(request, timeout=_SECONDS) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        raise click.ClickException(f"not reloaded: {_reason(error)}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise click.ClickException(f"{url} did not answer as expected: {reason}") from None


def _reason(error: urllib.error.HTTPError) -> str:
    """The problems that the service names, one a line."""
    try:
        problem = json.load(error)
        faults = problem.get("errors", ())
        lines = [f"{each['field']}: got {each['given']!r}, allowed is {each['allowed']}" for each in faults]
        return "\n".join(lines) or str(problem["detail"])
    except (ValueError, LookupError, TypeError, AttributeError):
        return f"status {error.code}"


def _text(change: dict[str, Any]) -> str:
    if "before" in change:
        return f"{change['setting']} {_value(change['before'])} → {_value(change['after'])}"
    return f"{change['setting']} {change['change']}"


def _value(value: object) -> str:
    return "not set" if value is None else json.dumps(value, ensure_ascii=False)
