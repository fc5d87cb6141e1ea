"""Own prices: read from the file that a setting names."""

from pathlib import Path

import pytest

from tidegate.core.domain.errors import ConfigurationError
from tidegate.core.domain.usage import Usage
from tidegate.core.pricing.price_list import PriceList
from tidegate.settings.prices import load_prices

FILE = """
source = "contract"
read_on = 2026-11-01
prices = [{models = ["m"], input = 1, output = 2, cache_read = 0.1, cache_creation_5m = 1.2, cache_creation_1h = 2}]
"""


def test_without_a_file_the_list_prices_apply() -> None:
    assert load_prices(None) is PriceList.bundled()


def test_the_file_adds_its_models_to_the_list_prices(tmp_path: Path) -> None:
    path = tmp_path / "prices.toml"
    path.write_text(FILE)
    prices = load_prices(str(path))
    assert prices.cost_micro_usd("m", Usage(3), 0) == 3
    assert set(prices.models) == {"m", *PriceList.bundled().models}


@pytest.mark.parametrize(("content", "told"), [(None, "No such file"), ("read_on = 1", "TIDEGATE_PRICES")])
def test_a_file_that_cannot_be_used_is_named(content: str | None, told: str, tmp_path: Path) -> None:
    path = tmp_path / "prices.toml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigurationError, match=told) as raised:
        load_prices(str(path))
    assert raised.value.given == str(path)
