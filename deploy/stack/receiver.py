"""Who is told of alerts in the stack: the terminal, through Alertmanager's webhooks."""

import json
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["as_lines", "printing_receiver"]

_IN_PARENTHESES = ("severity", "window", "route", "pool", "model", "cause", "class", "dimension")


def as_lines(receiver: str, notification: Mapping[str, Any]) -> list[str]:
    """One line for each alert of a webhook's body: who is told, state, name, and the labels that tell it apart."""
    lines = []
    for alert in notification["alerts"]:
        labels = alert["labels"]
        told = " ".join(labels[name] for name in _IN_PARENTHESES if name in labels)
        lines.append(f"alert to {receiver}: {alert['status']} {labels['alertname']} ({told})")
    return lines


@contextmanager
def printing_receiver() -> Iterator[str]:
    """Print what is posted to the URL given plus a receiver's name, on a free port of loopback."""

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            for line in as_lines(self.path.removeprefix("/"), body):
                sys.stdout.write(f"{line}\n")
            sys.stdout.flush()
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing: what was told is printed already."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
