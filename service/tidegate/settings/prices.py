"""Loads the price list: the bundled prices, and those of an operator's file."""

from pathlib import Path

from tidegate.core.domain.errors import ConfigurationError
from tidegate.core.pricing.price_list import PriceList, bundled_prices, read_price_file

__all__ = ["load_prices"]


def load_prices(path: str | None) -> PriceList:
    """The price list. The rows of the file at `path` replace those of the models that it names.

    Raises:
        ConfigurationError: the file cannot be read or is invalid.
    """
    if path is None:
        return PriceList.bundled()
    try:
        own = read_price_file(Path(path).read_bytes())
    except OSError as error:
        raise ConfigurationError("TIDEGATE_PRICES", path, f"a readable file ({error.strerror})") from None
    except ValueError as error:
        raise ConfigurationError("TIDEGATE_PRICES", path, f"a file of prices ({error})") from None
    return PriceList(bundled_prices(), own)
