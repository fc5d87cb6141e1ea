"""The receiver of pages."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer


class Pager:
    """Records which alerts have paged.

    Attributes:
        url: Where Alertmanager sends its messages.
        paged: Names of the alerts of all pages.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.paged: set[str] = set()


@contextmanager
def pager() -> Iterator[Pager]:
    """Run a receiver."""

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            message = json.loads(self.rfile.read(int(self.headers["content-length"])))
            running.paged |= {each["labels"]["alertname"] for each in message["alerts"] if each["status"] == "firing"}
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            """Says nothing."""

    with HTTPServer(("127.0.0.1", 0), Receiver) as server:
        running = Pager(f"http://127.0.0.1:{server.server_port}/")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield running
        finally:
            server.shutdown()
            thread.join()
