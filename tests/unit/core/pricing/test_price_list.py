import tomllib
from datetime import UTC, date, datetime
from importlib.resources import files
from inspect import unwrap

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import structs

from tidegate.core.domain.usage import Usage
from tidegate.core.pricing.price_list import (
    PriceFile,
    PriceList,
    PriceRow,
    bundled_prices,
    read_price_file,
    rounded_micro_usd,
    sum_micro_usd,
)
from tidegate.settings import Settings

MILLION = 1_000_000
PRICES = PriceList.bundled()
NOW = datetime(2026, 11, 25, tzinfo=UTC).timestamp()
READ_ON = date(2026, 11, 1)
NO_ROWS = PriceFile("test", READ_ON, ())
FILE = """
source = "contract 4711"
read_on = 2026-11-01

[[prices]]
models = ["claude-haiku-5-5", "own-model"]
input = 0.08
output = 0.40
cache_read = 0.008
cache_creation_5m = 0.1
cache_creation_1h = 0.16
"""


def usd(model: str, usage: Usage, at: float = NOW, prices: PriceList = PRICES) -> float | None:
    cost = prices.cost_micro_usd(model, usage, at)
    return None if cost is None else cost / MILLION


@pytest.mark.parametrize(
    ("usage", "dollars"),
    [
        (Usage(input_tokens=MILLION), 2),
        (Usage(output_tokens=MILLION), 10),
        (Usage(cache_read_tokens=MILLION), 0.10),
        (Usage(cache_creation_tokens=MILLION), 2.5),
        (Usage(cache_creation_tokens=MILLION, cache_creation_1h_tokens=MILLION), 4),
        (Usage(cache_creation_tokens=MILLION, cache_creation_1h_tokens=MILLION // 2), 3.25),
        (Usage(), 0),
    ],
)
def test_each_kind_of_token_has_its_price(usage: Usage, dollars: float) -> None:
    assert usd("claude-sonnet-5-5", usage) == dollars


def test_the_bundled_prices_are_those_of_the_package() -> None:
    assert unwrap(PriceList.bundled)(PriceList).models == PRICES.models
    assert unwrap(bundled_prices)() == bundled_prices()


def test_writes_for_an_hour_are_never_more_than_all_writes() -> None:
    assert usd("claude-sonnet-5-5", Usage(cache_creation_1h_tokens=MILLION)) == 0


def test_a_dated_id_costs_what_its_alias_costs() -> None:
    assert usd("claude-haiku-4-5-20251001", Usage(MILLION)) == 1


@pytest.mark.parametrize(
    ("usage", "micro_dollars"),
    [
        (Usage(50_000, 0, 30_000, 20_000), 5_000 + 300 + 2_500),
        (Usage(50_001, 0, 30_000, 20_000), 25_001 + 1_500 + 12_500),  # 25,000.5 is rounded up
    ],
)
def test_a_long_prompt_costs_more_as_a_whole_and_cached_tokens_make_it_long(usage: Usage, micro_dollars: int) -> None:
    assert PRICES.cost_micro_usd("claude-haiku-5-5", usage, NOW) == micro_dollars


@pytest.mark.parametrize(("tokens", "micro_dollars"), [(0, 0), (4, 0), (5, 1), (14, 1), (15, 2)])
def test_the_cost_is_rounded_to_the_nearest_micro_dollar(tokens: int, micro_dollars: int) -> None:
    assert PRICES.cost_micro_usd("claude-sonnet-5-5", Usage(cache_read_tokens=tokens), NOW) == micro_dollars


tokens = st.integers(0, 2 * MILLION)


@given(st.lists(st.integers(0, 10**13)))
@example([499_999, 500_000, 1_499_999])
def test_in_a_sum_each_cost_is_rounded(costs_pico_usd: list[int]) -> None:
    found = sum_micro_usd(costs_pico_usd)
    assert (found, type(found)) == (sum(map(rounded_micro_usd, costs_pico_usd)), int)


@given(usage=st.builds(Usage, tokens, tokens, tokens, tokens, tokens, st.booleans(), st.just(value=False)))
def test_the_rounded_cost_is_half_a_micro_dollar_off_at_most(usage: Usage) -> None:
    (row,) = (row for row in bundled_prices().prices if "claude-opus-5-5" in row.models)
    kept = min(usage.cache_creation_1h_tokens, usage.cache_creation_tokens)
    amounts = (
        usage.input_tokens,
        usage.output_tokens,
        usage.cache_read_tokens,
        usage.cache_creation_tokens - kept,
        kept,
    )
    prices = (row.input, row.output, row.cache_read, row.cache_creation_5m, row.cache_creation_1h)
    exact = sum(amount * price for amount, price in zip(amounts, prices, strict=True)) * (0.5 if usage.batch else 1)
    cost = PRICES.cost_micro_usd("claude-opus-5-5", usage, NOW)
    assert cost is not None
    assert abs(cost - exact) <= 0.5 + 1e-6


@pytest.mark.parametrize("model", ["claude-sonnet-5-5", "claude-haiku-5-5", "claude-haiku-4-5-20251001"])
def test_in_a_batch_every_kind_of_token_costs_half(model: str) -> None:
    usage = Usage(60_000, 5_000, 30_000, 20_000, 10_000)
    alone = usd(model, usage)

    assert alone
    assert usd(model, usage._replace(batch=True)) == alone / 2


def test_a_model_without_a_price_is_free_in_no_batch_either() -> None:
    assert usd("claude-fable-9", Usage(1, batch=True)) is None


def test_every_model_that_is_listed_has_a_price() -> None:
    assert "claude-haiku-4-5" in PRICES.models
    assert not any(model.endswith("-fast") for model in PRICES.models)
    assert None not in {usd(model, Usage(1)) for model in PRICES.models}


def test_a_model_without_a_price_is_not_free() -> None:
    assert usd("claude-fable-9", Usage(1)) is None


def test_the_models_that_are_configured_by_default_have_prices() -> None:
    defaults = Settings()
    assert None not in {usd(model, Usage(1)) for model in (defaults.model, defaults.fallback_model)}


@pytest.mark.parametrize(("day", "dollars"), [((2026, 10, 6), 0.20), ((2026, 10, 7), 0.10), ((2026, 11, 25), 0.10)])
def test_a_price_holds_from_its_day_on(day: tuple[int, int, int], dollars: float) -> None:
    at = datetime(*day, 12, tzinfo=UTC).timestamp()
    assert usd("claude-sonnet-5-5", Usage(cache_read_tokens=MILLION), at) == dollars


def test_a_price_that_is_announced_waits_for_its_day_in_utc() -> None:
    now = PriceRow(("m",), 1, 0, 0, 0, 0)
    later = structs.replace(now, input=9, effective_from=date(2027, 1, 1))
    prices = PriceList(structs.replace(NO_ROWS, prices=(later, now)))
    turn = datetime(2027, 1, 1, tzinfo=UTC).timestamp()
    assert [usd("m", Usage(MILLION), at, prices) for at in (turn - 1, turn)] == [1, 9]


def test_one_response_is_priced_by_its_model_and_time_however_often() -> None:
    rows = [
        PriceRow(("m",), price, 0, 0, 0, 0, effective_from=date(2027, month, 1)) for month, price in ((1, 1), (2, 2))
    ]
    prices = PriceList(structs.replace(NO_ROWS, prices=(*rows, PriceRow(("other",), 5, 0, 0, 0, 0))))
    usage = Usage(MILLION)
    before, january, february = (
        datetime(*day, tzinfo=UTC).timestamp() for day in ((2026, 12, 31), (2027, 1, 31), (2027, 2, 1))
    )
    asked = [("m", january), ("m", january), ("m", february), ("m", january), ("m", before), ("other", january)]
    assert [usd(model, usage, at, prices) for model, at in asked] == [1, 1, 2, 1, None, 5]


def test_before_its_first_day_a_model_has_no_price() -> None:
    row = PriceRow(("m",), 1, 1, 1, 1, 1, effective_from=date(2027, 1, 1))
    assert usd("m", Usage(1), NOW, PriceList(structs.replace(NO_ROWS, prices=(row,)))) is None


def test_the_list_says_when_it_was_read_and_is_in_order() -> None:
    listed = tomllib.loads(files("tidegate.core.pricing").joinpath("prices.toml").read_text("utf-8"))
    assert listed["read_on"] >= date(2026, 10, 24)
    bounds: dict[tuple[str, date], list[float]] = {}
    for row in listed["prices"]:
        assert row["cache_read"] < row["input"] < row["cache_creation_5m"] < row["cache_creation_1h"] < row["output"]
        for model in row["models"]:
            since = model, row.get("effective_from", date.min)
            bounds.setdefault(since, []).append(row.get("up_to_prompt_tokens", float("inf")))
    assert all(found == sorted(set(found)) and found[-1] == float("inf") for found in bounds.values()), bounds


@pytest.mark.parametrize(
    ("model", "dollars"), [("claude-opus-5-5", 8), ("claude-opus-4-8", 10), ("claude-opus-5-20260701", 10)]
)
def test_fast_mode_has_prices_of_its_own(model: str, dollars: float) -> None:
    assert usd(model, Usage(1_000_000, fast=True)) == dollars


def test_where_the_price_of_fast_mode_is_not_known_there_is_none() -> None:
    assert usd("claude-sonnet-5-5", Usage(1, fast=True)) is None


def test_an_own_file_replaces_all_rows_of_its_models_and_no_others() -> None:
    prices = PriceList(bundled_prices(), read_price_file(FILE.encode()))

    assert usd("claude-haiku-5-5", Usage(2 * MILLION), prices=prices) == 0.16  # no row for long prompts any more
    assert usd("own-model", Usage(output_tokens=MILLION), prices=prices) == 0.40
    assert usd("claude-haiku-5-5", Usage(MILLION, batch=True), prices=prices) == 0.04
    assert usd("claude-sonnet-5-5", Usage(MILLION), prices=prices) == 2
    assert prices.sources == (("contract 4711", READ_ON), (bundled_prices().source, bundled_prices().read_on))


def test_an_own_file_may_have_another_price_for_batches() -> None:
    prices = PriceList(bundled_prices(), read_price_file(f"batch_share = 0.25\n{FILE}".encode()))
    assert usd("own-model", Usage(MILLION, batch=True), prices=prices) == 0.02


def test_without_a_price_for_batches_they_cost_the_same() -> None:
    prices = PriceList(structs.replace(NO_ROWS, prices=(PriceRow(("m",), 1, 1, 1, 1, 1),)))
    assert usd("m", Usage(MILLION, batch=True), prices=prices) == 1


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("input = 0.08", "input = -1"), r"prices\[0\].input: got -1"),
        (("input = 0.08", "input = 0.0000001"), "at most 6 decimals"),
        (("input = 0.08", "input = 1e-13"), "at most 6 decimals"),
        (("input = 0.08", "input = inf"), r"prices\[0\].input: got inf"),
        (("input = 0.08", ""), "missing required field `input`"),
        (("input = 0.08", "inputs = 0.08"), "unknown field `inputs`"),
        (("read_on = 2026-11-01", "read_on = 2026-11-01\nbatch_share = 0.00051"), "batch_share: got 0.00051"),
        (("read_on = 2026-11-01", "="), "Invalid"),
    ],
)
def test_a_faulty_file_is_refused_with_the_fault(change: tuple[str, str], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        read_price_file(FILE.replace(*change).encode())


def test_the_most_that_a_response_could_cost_is_rounded_to_the_nearest_and_nothing_without_prices() -> None:
    row = PriceRow(("a",), 0.4, 0.1, 0.1, 0.1, 0.1)
    prices = PriceList(PriceFile("test", READ_ON, (row, structs.replace(row, models=("b",), input=0.5))))
    assert [prices.most_micro_usd(Usage(tokens)) for tokens in (0, 1, 2, 3)] == [0, 1, 1, 2]
    assert PriceList(NO_ROWS).most_micro_usd(Usage(MILLION, MILLION)) == 0


def test_a_row_may_name_replaced_models_before_others() -> None:
    listed = PriceRow(("own", "other"), 1, 1, 1, 1, 1)
    own = structs.replace(listed, models=("own",), input=2)
    prices = PriceList(PriceFile("test", READ_ON, (listed,)), PriceFile("own", READ_ON, (own,)))
    assert [usd(model, Usage(MILLION), prices=prices) for model in ("own", "other")] == [2, 1]


def test_a_batch_costs_whole_pico_dollars() -> None:
    row = PriceRow(("a",), 0.000001, 0, 0, 0, 0)
    prices = PriceList(PriceFile("test", READ_ON, (row,), 0.5))
    assert repr(prices.cost_pico_usd("a", Usage(3, batch=True), NOW)) == "1"
    assert repr(prices.cost_micro_usd("a", Usage(3_000_000, batch=True), NOW)) == "2"
    assert repr(prices.most_micro_usd(Usage(3_000_000))) == "3"


@pytest.mark.parametrize(
    ("file", "told"),
    [
        (structs.replace(NO_ROWS, batch_share=0.00051), "^batch_share: got"),
        (structs.replace(NO_ROWS, prices=(PriceRow(("a",), 1, -1, 1, 1, 1),)), "^output: got -1"),
    ],
)
def test_prices_that_were_not_read_from_a_file_are_checked_too(file: PriceFile, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        PriceList(file)
