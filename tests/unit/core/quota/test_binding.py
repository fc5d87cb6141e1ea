"""The reason of a wait that Tidegate reports: `binding`."""

from msgspec import structs

from tidegate.core.domain.caller import DEFAULT_CALLER, Caller, CallerLimits, Priority
from tidegate.core.domain.demand import GRANTED, Demand, Wait
from tidegate.core.domain.dimension import ONE_REQUEST, Cost, Dimension
from tidegate.core.domain.feedback import RateLimited
from tidegate.core.domain.limit_report import DimensionReport, LimitReport
from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S
from tidegate.core.domain.pool_settings import AdaptiveSettings, LimitSettings, PoolSettings
from tidegate.core.pool.pool import Pool
from tidegate.core.quota.quota import Quota

HEADERLESS = LimitReport()
REPORTED = LimitReport(DimensionReport(6_000, 3_000, 30 * S))
ADAPTING = PoolSettings(adaptive=AdaptiveSettings())
ONE = Demand("p", DEFAULT_CALLER, ONE_REQUEST)


def quota(settings: PoolSettings | None = None) -> Quota:
    return Quota("p", settings or PoolSettings(), 0)


def answered(report: LimitReport = REPORTED) -> Quota:
    """A quota that learns, whose first request has been answered."""
    made = quota()
    made.learn_limits(report, 0)
    return made


def in_output_debt() -> Quota:
    """The upstream limits output and reports nothing. At 80 s it refused while 60 responses were not complete."""
    made = answered(HEADERLESS)
    for number in range(1, 441):
        at_ns = 10 * S * number // 440
        made.demand_seen(at_ns)
        made.charge(ONE_REQUEST, at_ns)
        made.request_ended(at_ns)
    made.correct_use(0, 0, 10_000, 10 * S)
    made.learn_429(RateLimited(S, 0), 10 * S + S // 2)
    made.correct_use(0, 0, 4_000, 11 * S)
    made.learn_429(RateLimited(4 * S, 0), 11 * S)
    made.answer_came(15 * S)
    for number in range(60):
        made.charge(ONE_REQUEST, (16 + number) * S)
    made.correct_use(0, 0, 40_000, 80 * S)
    made.learn_429(RateLimited(S, 0), 80 * S)
    made.answer_came(81 * S)
    return made


class TestQuota:
    def test_the_dimension_with_the_longest_wait_binds(self) -> None:
        dimensions = {Dimension.REQUESTS: LimitSettings(60, 2), Dimension.INPUT_TOKENS: LimitSettings(6_000, 1_000)}
        made = quota(PoolSettings(dimensions))
        made.charge(Cost(2, 1_000), 0)
        assert made.binding(Cost(1, 50), 0) == "requests"
        assert made.binding(Cost(1, 500), 0) == "input_tokens"

    def test_a_freeze_binds_and_then_the_probe_after_it(self) -> None:
        made = answered()
        made.learn_429(RateLimited(20 * S, 0), 0)
        assert made.binding(ONE_REQUEST, S) == "frozen"
        made.charge(ONE_REQUEST, 20 * S)
        assert made.binding(ONE_REQUEST, 20 * S) == "probe"

    def test_acceleration_binds(self) -> None:
        made = answered(HEADERLESS)
        made.charge(ONE_REQUEST, 0)
        made.learn_429(RateLimited(None, 0, acceleration=True), 0)
        made.learn_limits(REPORTED, 0)
        made.charge(ONE_REQUEST, 0)
        assert made.binding(ONE_REQUEST, 0) == "acceleration"

    def test_the_older_limiter_knows_no_probes(self) -> None:
        made = quota(ADAPTING)
        made._freeze.extend(S, 0)
        assert made.binding(ONE_REQUEST, 0) == "frozen"

    def test_nothing_binds_where_everything_fits(self) -> None:
        assert answered().binding(Cost(1, 10, 10), 0) == "queue"

    def test_a_configured_limit_on_output_binds(self) -> None:
        made = quota(PoolSettings({Dimension.OUTPUT_TOKENS: LimitSettings(60, 10)}))
        made.answer_came(0)
        made.charge(Cost(1, 0, 10), 0)
        assert made.binding(Cost(1, 0, 5), 0) == "output_tokens"

    def test_output_debt_binds_as_output_tokens(self) -> None:
        made = in_output_debt()
        assert not made.fits(ONE_REQUEST, 83 * S)
        assert made.binding(ONE_REQUEST, 83 * S) == "output_tokens"

    def test_a_limit_without_a_wait_does_not_bind(self) -> None:
        made = in_output_debt()
        assert made.fits(ONE_REQUEST, 90 * S)
        assert made.binding(ONE_REQUEST, 90 * S) == "queue"


class TestReturnedRequest:
    """A request returns to the front of the queue after a 429."""

    def test_waits_for_what_binds_although_others_wait_behind_it(self) -> None:
        state = Pool("p", PoolSettings({Dimension.REQUESTS: LimitSettings(60, 1)}, AdaptiveSettings()), 0)
        assert state.reserve("a", ONE, 0) == GRANTED
        state.reserve("behind", ONE, 0)
        state.learn(RateLimited(20 * S, 0, lease_id="a"), S // 2)
        wait = state.reserve("again", structs.replace(ONE, front=True), S // 2)
        assert isinstance(wait, Wait)
        assert wait.binding == "frozen"
        second = state.reserve("second", structs.replace(ONE, front=True), S // 2)
        assert isinstance(second, Wait)
        assert second.binding == "queue"


def test_a_new_request_of_a_higher_class_waits_for_what_binds() -> None:
    state = Pool("p", PoolSettings({Dimension.REQUESTS: LimitSettings(60, 1)}, AdaptiveSettings()), 0)
    state.reserve("a", ONE, 0)
    state.reserve("b", ONE, 0)
    wait = state.reserve("urgent", structs.replace(ONE, caller=Caller("ui", priority=Priority.INTERACTIVE)), 0)
    assert isinstance(wait, Wait)
    assert wait.binding == "requests"


def test_the_concurrency_of_a_caller_binds_also_while_the_pool_is_empty() -> None:
    """Time alone does not end that wait, so it has no length to compare with the pool's."""
    single = structs.replace(ONE, caller=Caller("one", limits=CallerLimits(max_concurrent=1)))
    state = Pool("p", PoolSettings({Dimension.REQUESTS: LimitSettings(60, 1)}, AdaptiveSettings()), 0)
    assert state.reserve("a", single, 0) == GRANTED
    wait = state.reserve("b", single, 0)
    assert isinstance(wait, Wait)
    assert wait.binding == "caller_limit"
