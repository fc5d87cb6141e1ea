from collections.abc import Iterator

import pytest

from support.conformance import Twins, twins

ALWAYS_ON_BOTH_SERVERS = {"test_http"}
"""Modules that `make test` also runs with uvicorn's own connections (`tidegate serve --http uvicorn`). `make
test-clients` runs all others with them."""
NEVER_ON_UVICORN = {"test_http_stacks"}
"""Stock uvicorn drops the body of a request with `Upgrade`, which Java sends, and treats trailers as headers."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "pair" in metafunc.fixturenames:
        module = metafunc.module.__name__.rpartition(".")[2]
        uvicorn = pytest.param("uvicorn", marks=() if module in ALWAYS_ON_BOTH_SERVERS else pytest.mark.clients)
        servers = ["tidegate"] if module in NEVER_ON_UVICORN else ["tidegate", uvicorn]
        metafunc.parametrize("pair", servers, indirect=True, scope="module")


@pytest.fixture(scope="module")
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twins]:
    with twins(tmp_path_factory.mktemp("conformance"), http=request.param) as running:
        yield running
