from collections.abc import Iterator

import pytest

from support.conformance import Twins, twins


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twins]:
    with twins(tmp_path_factory.mktemp("conformance")) as running:
        yield running
