from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos.servers import Server, server


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Server]:
    with server(tmp_path / "store") as running_server:
        yield running_server
