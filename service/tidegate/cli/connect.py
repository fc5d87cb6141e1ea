"""`tidegate connect`: prints how to configure a client for the service."""

from typing import Final

import click

from tidegate.http.server.listener import base_url
from tidegate.settings import load_settings

__all__ = ["connect"]

_TEXTS: Final = {
    "claude-code": """\
export ANTHROPIC_BASE_URL={url}
export ANTHROPIC_AUTH_TOKEN={key}
# Optional: gives the main conversation priority over titles, summaries and subagents.
export CLAUDE_CODE_GATEWAY_HINT_HEADERS=1
claude
""",
    "python": """\
# pip install anthropic
# The SDK reads ANTHROPIC_BASE_URL={url} and ANTHROPIC_API_KEY={key} as well.
import anthropic

client = anthropic.Anthropic(base_url="{url}", api_key="{key}")
message = client.messages.create(
    model="{model}", max_tokens=100, messages=[{{"role": "user", "content": "Hello"}}]
)
print(message.content[0].text)
""",
    "typescript": """\
// npm install @anthropic-ai/sdk
// The SDK reads ANTHROPIC_BASE_URL={url} and ANTHROPIC_API_KEY={key} as well.
import Anthropic from "@anthropic-ai/sdk";

const client = new Anthropic({{ baseURL: "{url}", apiKey: "{key}" }});
const message = await client.messages.create({{
  model: "{model}", max_tokens: 100, messages: [{{ role: "user", content: "Hello" }}],
}});
console.log(message.content);
""",
    "curl": """\
curl -s {url}/v1/messages -H 'content-type: application/json' -H 'anthropic-version: 2023-06-01' \\
  -H 'x-api-key: {key}' \\
  -d '{{"model": "{model}", "max_tokens": 100, "messages": [{{"role": "user", "content": "Hello"}}]}}'
""",
}


@click.command()
@click.argument("client", type=click.Choice(list(_TEXTS)))
@click.option("--url", help="URL of the service for clients; default: from the configuration.")
def connect(client: str, url: str | None) -> None:
    """Print how to configure a client: base URL and key."""
    settings = load_settings().settings
    key = "YOUR_KEY" if settings.callers else "any-key"
    text = _TEXTS[client].format(
        url=(url or base_url(settings.host, settings.port)).rstrip("/"), key=key, model=settings.model
    )
    click.echo(text, nl=False)
    if settings.callers:
        click.echo("tidegate: YOUR_KEY is the key of a caller; `tidegate keys create` creates one", err=True)
