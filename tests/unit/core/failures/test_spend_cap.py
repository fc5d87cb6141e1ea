"""Spend caps: how the upstream names them, until when they last, and what the circuit lets through."""

from datetime import UTC, datetime

import pytest

from tidegate.core.claude.spend_cap import SPEND_CAP_CODES, is_spend_cap, spend_cap_ends_in_seconds
from tidegate.core.domain.errors import UpstreamError
from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S
from tidegate.core.failures.spend_cap_circuit import SpendCapCircuit

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC).timestamp()
DAY = 86_400.0
SENTENCE = "You have reached your specified API usage limits. "
MINUTE = 60 * S


def error(message: str = "", status: int = 429, code: str | None = None, kind: str | None = None) -> UpstreamError:
    return UpstreamError(message, status=status, error_code=code, error_type=kind)


class TestNaming:
    @pytest.mark.parametrize("code", sorted(SPEND_CAP_CODES))
    def test_a_code(self, code: str) -> None:
        assert is_spend_cap(error(code=code))

    @pytest.mark.parametrize(
        "message",
        [
            SENTENCE,
            "You have reached your specified workspace API usage limits. You will regain access on 2026-12-01.",
            "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing.",
        ],
    )
    def test_a_sentence_of_a_400(self, message: str) -> None:
        assert is_spend_cap(error(message, status=400))
        assert not is_spend_cap(error(message, status=429)), "only as a 400"

    def test_a_message_that_only_quotes_the_sentence_is_none(self) -> None:
        message = f"Unexpected value(s) `{SENTENCE}` for the `anthropic-beta` header"
        assert not is_spend_cap(error(message, status=400)), "any client could close the pool for all others"

    def test_the_sentence_counts_as_the_upstream_worded_it(self) -> None:
        error = UpstreamError(f"400 invalid_request_error: {SENTENCE}", status=400, upstream_message=SENTENCE)
        assert is_spend_cap(error)

    def test_a_billing_error(self) -> None:
        assert is_spend_cap(error(status=402))
        assert is_spend_cap(error(status=200, kind="billing_error")), "inside of a stream"

    @pytest.mark.parametrize("status", [400, 403, 429, 529])
    def test_nothing_else(self, status: int) -> None:
        assert not is_spend_cap(error("some message", status=status))


class TestDate:
    @pytest.mark.parametrize(
        ("message", "days"),
        [
            (SENTENCE + "You will regain access on 2026-12-01 at 00:00 UTC.", 5.5),
            (SENTENCE + "You will regain access on 2026-12-01 at 06:00:00 UTC.", 5.75),
            (SENTENCE + "You will regain access on 2026-12-01.", 5.5),
            (SENTENCE + "You will regain access on 2026-11-24 at 00:00 UTC.", None),
            (SENTENCE + "You will regain access on 2036-12-01 at 00:00 UTC.", None),
            (SENTENCE + "You will regain access on 2026-13-41 at 00:00 UTC.", None),
            (SENTENCE + "You will regain access on 2026-12-01 at 99:99 UTC.", None),
            (SENTENCE + "You will regain access soon.", None),
            (SENTENCE, None),
        ],
    )
    def test_in_the_message(self, message: str, days: float | None) -> None:
        assert spend_cap_ends_in_seconds(error(message, status=400), NOW) == (None if days is None else days * DAY)

    def test_a_tiers_cap_ends_with_the_month(self) -> None:
        cap = error("no date", code="enforced_spend_limit_reached")
        assert spend_cap_ends_in_seconds(cap, NOW) == 5.5 * DAY
        december = datetime(2026, 12, 31, tzinfo=UTC).timestamp()
        assert spend_cap_ends_in_seconds(cap, december) == DAY

    @pytest.mark.parametrize(
        ("before_s", "seconds"), [(40 * DAY, 40 * DAY), (40 * DAY + 1, None), (0.5, 0.5), (0.0, None)]
    )
    def test_is_in_the_next_forty_days(self, before_s: float, seconds: float | None) -> None:
        date = datetime(2026, 12, 1, tzinfo=UTC).timestamp()
        message = SENTENCE + "You will regain access on 2026-12-01."
        assert spend_cap_ends_in_seconds(error(message, status=400), date - before_s) == seconds

    @pytest.mark.usefixtures("far_from_utc")
    def test_a_month_ends_in_utc_wherever_we_are(self) -> None:
        cap = error("no date", code="enforced_spend_limit_reached")
        late = datetime(2026, 11, 30, 23, tzinfo=UTC).timestamp()
        assert spend_cap_ends_in_seconds(cap, late) == 3_600

    def test_a_contracts_cap_names_no_end(self) -> None:
        assert spend_cap_ends_in_seconds(error(code="contract_spend_limit_reached"), NOW) is None


class TestCircuit:
    def test_is_closed_until_the_cap_is_reached(self) -> None:
        circuit = SpendCapCircuit()
        assert not circuit.is_open(0)
        assert not circuit.close_if_due(0)
        assert not circuit.answered(0)

    def test_closes_at_the_date(self) -> None:
        circuit = SpendCapCircuit()
        assert circuit.reached(3_600 * S, 0)
        assert not circuit.reached(3_600 * S, 1), "open already"
        assert circuit.retry_after_ns(100 * S) == 3_500 * S + 1
        assert circuit.is_open(3_600 * S)
        assert not circuit.close_if_due(3_600 * S)
        assert not circuit.is_open(3_600 * S + 1)
        assert circuit.retry_after_ns(3_600 * S + 1) == 0
        assert circuit.close_if_due(3_600 * S + 1)
        assert not circuit.close_if_due(3_600 * S + 1), "once"
        assert circuit.reached(None, 4_000 * S), "open again"

    def test_an_answer_closes_it_if_it_was_asked_for_after_the_refusal(self) -> None:
        circuit = SpendCapCircuit()
        circuit.reached(None, 10 * S)
        assert not circuit.answered(10 * S - 1)
        assert circuit.is_open(20 * S)
        assert circuit.answered(10 * S)
        assert not circuit.is_open(20 * S)

    def test_without_a_date_single_requests_find_out_more_and_more_seldom(self) -> None:
        circuit = SpendCapCircuit()
        circuit.reached(None, 0)
        assert circuit.retry_after_ns(15 * S) == 45 * S
        probes = [minute for minute in range(60) if circuit.try_probe(minute * MINUTE)]
        assert probes == [1, 3, 7, 15, 30, 45]
        assert not circuit.try_probe(45 * MINUTE)

    def test_with_a_date_too_because_a_cap_may_be_raised(self) -> None:
        circuit = SpendCapCircuit()
        circuit.reached(86_400 * S, 0)
        assert [minute for minute in range(60) if circuit.try_probe(minute * MINUTE)] == [15, 30, 45]

    def test_a_date_that_has_passed_ends_it_at_once(self) -> None:
        circuit = SpendCapCircuit()
        circuit.reached(-1, 10 * S)
        assert not circuit.is_open(10 * S)
