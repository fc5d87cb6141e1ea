from collections.abc import Iterator

import pytest

from support.conformance import Twins, twins

ON_BOTH_SERVERS = {"test_http", "test_curl", "test_own_errors"}
"""Modules that run once more with uvicorn's own connections (`tidegate serve --http uvicorn`)."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "pair" in metafunc.fixturenames and metafunc.module.__name__.rpartition(".")[2] in ON_BOTH_SERVERS:
        metafunc.parametrize("pair", ["tidegate", "uvicorn"], indirect=True, scope="module")


@pytest.fixture(scope="module")
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twins]:
    with twins(tmp_path_factory.mktemp("conformance"), http=getattr(request, "param", "tidegate")) as running:
        yield running
