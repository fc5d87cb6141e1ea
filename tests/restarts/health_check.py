"""Checks the readiness of a service every second, and tells nginx by a file: `health_check.py URL FILE`."""

import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Final, NoReturn

_CHECK_SECONDS: Final = 1.0


def check_repeatedly(url: str, file: Path) -> NoReturn:
    """Keeps `file` there while `url` is answered with status 200. Each check has a connection of its own."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while True:
        try:
            with opener.open(url, timeout=_CHECK_SECONDS):
                file.touch()
        except OSError:  # also for an error status, such as 503
            file.unlink(missing_ok=True)
        time.sleep(_CHECK_SECONDS)


if __name__ == "__main__":
    check_repeatedly(sys.argv[1], Path(sys.argv[2]))
