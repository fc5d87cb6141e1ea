from collections.abc import Iterator

import pytest

from support.conformance import Twins, twins

ALWAYS_ON_BOTH_SERVERS = {"test_http", "test_curl", "test_own_errors"}
"""Modules that `make test` runs once more with uvicorn's own connections (`tidegate serve --http uvicorn`). All others
that use the pair run so in `make test-clients`."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "pair" in metafunc.fixturenames:
        is_always = metafunc.module.__name__.rpartition(".")[2] in ALWAYS_ON_BOTH_SERVERS
        uvicorn = pytest.param("uvicorn", marks=() if is_always else pytest.mark.clients)
        metafunc.parametrize("pair", ["tidegate", uvicorn], indirect=True, scope="module")


@pytest.fixture(scope="module")
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twins]:
    with twins(tmp_path_factory.mktemp("conformance"), http=request.param) as running:
        yield running
