"""The service before a simulator, and a second simulator that is called directly: equal calls must get equal answers.

Both simulators stand still at the same moment and number their answers alike. So a call sent through the service and
the same one sent directly, each after the same calls before it, get the same status, headers and bytes, or the service
changed them.
"""

import contextlib
import gzip
import json
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.service_process import ServiceProcess, running
from tidegate.identity.identify import key_hash

CALLER_KEY = "key-of-a-caller"
SERVICE_KEY = "key-of-the-service"

OWN_ANSWER_FIELDS = ("x-tidegate-", "via")
"""Response headers that the service may add."""
CHANGED_REQUEST_FIELDS = {
    "host",
    "x-api-key",
    "authorization",
    "x-tidegate-hop",
    "x-tidegate-timeout-seconds",
    "accept-encoding",
    "connection",
}
"""Request headers that the service may change: of one connection only, credentials, and what it cannot read struck."""

_LIMITS = ("requests-per-minute=10000", "input-tokens-per-minute=100000000", "output-tokens-per-minute=20000000")


@dataclass
class Twins:
    """Where to call: `through` is the service, `behind` its simulator, `direct` the other one.

    `http` is who speaks HTTP with clients of the service.
    """

    service: ServiceProcess
    through: str
    behind: str
    direct: str
    http: str = "tidegate"

    def urls(self) -> tuple[str, str]:
        return self.through, self.direct


@contextlib.contextmanager
def twins(
    directory: Path, *, configuration: str | None = None, http: str = "tidegate", **variables: str
) -> Iterator[Twins]:
    """Runs the three processes; without a configuration of its own the service knows one caller, of `CALLER_KEY`.

    `http` is who speaks HTTP with clients of the service.
    """
    if configuration is None:
        configuration = f'[[callers]]\nname = "team"\nkey_sha256 = "{key_hash(CALLER_KEY)}"\n'
    simulator = [
        "simulator",
        *(f"--{limit}" for limit in _LIMITS),
        "--first-token-seconds=0",
        "--per-token-seconds=0",
        "--batch-seconds=0",
        "--compression",
        f"--clock-stands-at={int(time.time())}",
    ]
    places = [directory / name for name in ("behind", "direct", "service")]
    for place in places:
        place.mkdir()
    (places[2] / "tidegate.toml").write_text(configuration)
    with (
        running(places[0], *simulator) as behind,
        running(places[1], *simulator) as direct,
        running(
            places[2],
            "serve",
            "--http",
            http,
            ANTHROPIC_API_KEY=SERVICE_KEY,
            **{"TIDEGATE_UPSTREAM_URL": behind.url, **variables},
        ) as service,
    ):
        yield Twins(service, service.url, behind.url, direct.url, http)


@dataclass(frozen=True)
class Answered:
    """What came back. `broken`: the connection ended before the body did."""

    status: int
    fields: list[tuple[str, str]]
    body: bytes
    broken: bool = False


def comparable(path: str, answered: Answered, url: str) -> tuple[list[tuple[str, str]], bytes]:
    """Headers in their order, without those that the service may add, and body.

    Answers about batches say the URL of their results, which is the service's own; they come uncompressed.
    """
    fields = [(name, value) for name, value in answered.fields if not name.startswith(OWN_ANSWER_FIELDS)]
    body = answered.body
    if "/batches" in path and not path.endswith("/results"):
        body = gzip.decompress(body) if body.startswith(b"\x1f\x8b") else body
        packing = {"content-encoding", "vary", "content-length", "transfer-encoding"}
        fields = [(name, value) for name, value in fields if name not in packing]
        body = body.replace(url.encode(), b"URL")
    return fields, body


def requests_seen(simulator_url: str) -> list[dict[str, Any]]:
    """The latest 100 requests as the simulator saw them, without what may change on the way."""
    with urllib.request.urlopen(f"{simulator_url}/simulator/requests") as answer:  # noqa: S310 - ours
        requests: list[dict[str, Any]] = json.load(answer)["requests"]
    for request in requests:
        if any(value.startswith("multipart/") for _, value in request["headers"]):
            request.update(body_sha256="", headers=[])  # each form has a boundary of its own
        fields = [field for field in request["headers"] if field[0] not in CHANGED_REQUEST_FIELDS]
        # How long the body is may be said anywhere among the headers.
        request["headers"] = sorted(fields, key=lambda field: field[0] in {"content-length", "transfer-encoding"})
    return requests
