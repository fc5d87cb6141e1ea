"""Receives Alertmanager's webhooks and prints the alerts."""

import json
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["as_lines", "printing_receiver"]

_LABELS = ("severity", "window", "route", "pool", "model", "cause", "class", "dimension")


def as_lines(receiver: str, notification: Mapping[str, Any]) -> list[str]:
    """One line per alert of a webhook's body, with receiver, state, name and distinguishing labels."""
    lines = []
    for alert in notification["alerts"]:
        labels = alert["labels"]
        values = " ".join(labels[name] for name in _LABELS if name in labels)
        lines.append(f"alert to {receiver}: {alert['status']} {labels['alertname']} ({values})")
    return lines


@contextmanager
def printing_receiver() -> Iterator[str]:
    """Yields a base URL, to which receivers append their name, and prints the alerts posted there."""

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            for line in as_lines(self.path.removeprefix("/"), body):
                sys.stdout.write(f"{line}\n")
            sys.stdout.flush()
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Disables access logs: the alerts are printed already."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
