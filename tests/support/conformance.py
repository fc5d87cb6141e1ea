"""The service with a simulator, and a second simulator that is called directly: equal calls must get equal responses.

Both simulators have a clock fixed at the same time, and produce equal ids. After equal earlier calls, a call
through the service and the same call sent directly get the same status, headers and bytes, unless the service changed
them.
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
"""Request headers that the service may change: hop-by-hop headers, credentials, and unsupported encodings."""

_LIMITS = ("requests-per-minute=10000", "input-tokens-per-minute=100000000", "output-tokens-per-minute=20000000")


@dataclass
class Twins:
    """URLs: `through` is the service, `behind` its simulator, `direct` the other one.

    `http` is the service's HTTP implementation.
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
    """Run the three processes. By default the service has one caller, with `CALLER_KEY`.

    `http` is the service's HTTP implementation.
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
    """A response. `broken`: the connection ended before the body."""

    status: int
    fields: list[tuple[str, str]]
    body: bytes
    broken: bool = False


def comparable(path: str, answered: Answered, url: str) -> tuple[list[tuple[str, str]], bytes]:
    """Headers in order, without those that the service may add, and the body.

    Responses about batches contain the URL of their results, which is the service's, and are not compressed.
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
    """The latest 100 requests that the simulator received, without what the service may change."""
    with urllib.request.urlopen(f"{simulator_url}/simulator/requests") as answer:  # noqa: S310 - ours
        requests: list[dict[str, Any]] = json.load(answer)["requests"]
    for request in requests:
        if any(value.startswith("multipart/") for _, value in request["headers"]):
            request.update(body_sha256="", headers=[])  # the boundary of each form differs
        fields = [field for field in request["headers"] if field[0] not in CHANGED_REQUEST_FIELDS]
        # The position of the framing headers may differ.
        request["headers"] = sorted(fields, key=lambda field: field[0] in {"content-length", "transfer-encoding"})
    return requests
