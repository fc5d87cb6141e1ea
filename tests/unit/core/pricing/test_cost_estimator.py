"""The estimated cost of calls, and the calibration by their answers."""

from dataclasses import dataclass, field

import pytest
from msgspec import structs

from tidegate.core.domain.dimension import Cost
from tidegate.core.domain.nanoseconds import NS_PER_SECOND
from tidegate.core.domain.usage import Usage
from tidegate.core.pricing import cached_prefixes, output_lengths, token_rates
from tidegate.core.pricing.cost_estimator import CostEstimator
from tidegate.core.pricing.message_shape import MessageShape, Prefix
from tidegate.core.pricing.prompt_size import PromptSize

CALL = MessageShape("team-a", "claude-sonnet-5-5", PromptSize(4_000), max_tokens=1_000)
SYSTEM = Prefix(1, 2_000, PromptSize(), marked=True)
TURN = Prefix(2, 3_000, PromptSize(), marked=False)
CACHING = structs.replace(CALL, prefixes=(SYSTEM, TURN))


@dataclass
class Estimating:
    """An estimator, and the time that it is told: answers come so far apart that each teaches something."""

    estimator: CostEstimator = field(default_factory=CostEstimator)
    now_ns: int = 0
    apart_ns: int = 2_000_000

    def cost(self, shape: MessageShape = CALL) -> Cost:
        return self.estimator.estimate(shape, self.now_ns)

    def overdraw(self, shape: MessageShape = CALL) -> int:
        cost, overdraw_tokens = self.estimator.quote(shape, self.now_ns)
        assert cost == self.cost(shape)
        return overdraw_tokens

    def learn(self, usage: Usage, shape: MessageShape = CALL, times: int = 1) -> None:
        for _ in range(times):
            self.now_ns += self.apart_ns
            self.estimator.observe(shape, usage, self.now_ns)


@pytest.mark.parametrize(
    ("body_bytes", "max_tokens", "cost"),
    [
        (0, 0, Cost(1, 0, 1)),
        (4, 10, Cost(1, 1, 10)),
        (4_000, 499, Cost(1, 1_000, 499)),
        (4_000, 1_024, Cost(1, 1_000, 1_024)),
        (4_000, 64_000, Cost(1, 1_000, 4_000)),
        (400, None, Cost(1, 100, 4_000)),
    ],
)
def test_at_first_input_goes_by_size_and_output_is_what_is_usual(
    body_bytes: int, max_tokens: int | None, cost: Cost
) -> None:
    assert Estimating().cost(MessageShape("team-a", "m", PromptSize(body_bytes), max_tokens)) == cost


class TestManyAnswers:
    OTHER = structs.replace(CALL, caller="team-b")

    @pytest.fixture
    def state(self) -> Estimating:
        """After so many answers that the like of them come often."""
        state = Estimating()
        state.learn(Usage(input_tokens=100, output_tokens=50), times=200)
        return state

    def test_alike_ones_that_come_at_once_teach_nothing(self, state: Estimating) -> None:
        before = state.cost()
        state.apart_ns = 0
        state.learn(Usage(input_tokens=200, output_tokens=500), times=100)
        assert state.cost() == before

    @pytest.mark.parametrize("learned", [199, 200])
    def test_they_do_so_from_the_two_hundredth_on(self, learned: int) -> None:
        # The estimator begins as if three answers had been seen.
        state = Estimating()
        state.learn(Usage(input_tokens=100, output_tokens=50), times=learned - 3)
        before, state.apart_ns = state.cost(), 0
        state.learn(Usage(input_tokens=200, output_tokens=50))
        assert (state.cost() > before) == (learned < 200)

    @pytest.mark.parametrize(("apart_ns", "teaches"), [(1_999_999, False), (2_000_000, True)])
    def test_two_milliseconds_later_one_teaches_again(self, state: Estimating, apart_ns: int, *, teaches: bool) -> None:
        before, state.apart_ns = state.cost(), apart_ns
        state.learn(Usage(input_tokens=200, output_tokens=500))
        assert (state.cost() > before) == teaches

    def test_those_of_another_caller_teach_all_the_same(self, state: Estimating) -> None:
        state.apart_ns = 0
        before = state.cost(self.OTHER)
        state.learn(Usage(input_tokens=100, output_tokens=500), self.OTHER)
        assert state.cost(self.OTHER).output_tokens > before.output_tokens

    def test_what_is_cached_is_noted_all_the_same(self, state: Estimating) -> None:
        state.apart_ns = 0
        marked = structs.replace(CALL, prefixes=(Prefix(1, CALL.size.text_bytes, PromptSize(0), marked=True),))
        before = state.cost(marked)
        state.learn(Usage(cache_creation_tokens=100, output_tokens=50), marked)
        assert before.input_tokens > 0
        assert state.cost(marked).input_tokens == 0


class TestPromptsOfMixedSizes:
    TINY = structs.replace(CALL, size=PromptSize(90))
    LARGE = structs.replace(CALL, size=PromptSize(1_500))

    def test_what_many_tiny_prompts_cost_a_byte_does_not_make_a_large_one_look_cheap(self) -> None:
        state = Estimating()
        state.learn(Usage(input_tokens=9, output_tokens=1), self.TINY, times=200)
        state.learn(Usage(input_tokens=400, output_tokens=1), self.LARGE, times=10)
        assert 300 < state.cost(self.LARGE).input_tokens <= 400

    def test_all_of_a_mixture_is_charged_about_what_it_used(self) -> None:
        state, estimated, used = Estimating(), 0, 0
        for number in range(400):
            shape, tokens = (self.LARGE, 400) if number % 20 == 0 else (self.TINY, 9)
            estimated += state.cost(shape).input_tokens if number >= 100 else 0
            used += tokens if number >= 100 else 0
            state.learn(Usage(input_tokens=tokens, output_tokens=1), shape)
        assert estimated == pytest.approx(used, rel=0.1)

    def test_one_huge_prompt_weighs_no_more_than_eight_usual_ones(self) -> None:
        state = Estimating()
        state.learn(Usage(input_tokens=1_000, output_tokens=1), times=100)
        state.learn(Usage(input_tokens=900_000, output_tokens=1), structs.replace(CALL, size=PromptSize(1_800_000)))
        assert state.cost().input_tokens == pytest.approx(1_000 * (0.98 + 0.02 * 8 * 2) / (0.98 + 0.02 * 8), rel=0.01)

    def test_a_second_prompt_weighs_no_more_than_eight_like_the_first(self) -> None:
        state = Estimating()
        state.learn(Usage(input_tokens=1_000, output_tokens=1))
        state.learn(Usage(input_tokens=40_000, output_tokens=1), structs.replace(CALL, size=PromptSize(80_000)))
        assert state.cost().input_tokens == round(1_000 * (1 + 8 * 2) / (1 + 8))


class TestWhatWasProduced:
    def test_text_that_nobody_reported_yet_is_counted_at_four_bytes_a_token_at_first(self) -> None:
        produced = CostEstimator().produced("m", Usage(input_tokens=10, output_tokens=1), 400)
        assert produced == Usage(input_tokens=10, output_tokens=101)

    def test_the_ratio_of_a_model_is_learned_from_answers_that_came_whole(self) -> None:
        estimator = CostEstimator()
        estimator.observe(CALL, Usage(input_tokens=1_000, output_tokens=50), 0, text_bytes=100)
        assert estimator.produced(CALL.model, Usage(), 10) == Usage(output_tokens=5)
        assert estimator.produced("another", Usage(), 10) == Usage(output_tokens=2)

    def test_an_answer_whose_text_and_time_nobody_counted_teaches_neither(self) -> None:
        estimator, reserved = CostEstimator(), Cost(1, 1_000, 500)
        estimator.observe(CALL, Usage(input_tokens=1_000, output_tokens=50), 0)
        assert estimator.produced(CALL.model, Usage(), 400) == Usage(output_tokens=100)
        assert estimator.given_up(CALL.model, reserved, 0, streams=False) == reserved

    def test_of_a_call_that_was_given_up_all_that_was_reserved_until_the_pace_is_known(self) -> None:
        reserved = Cost(1, 1_000, 500)
        estimator = CostEstimator()
        assert estimator.given_up(CALL.model, reserved, NS_PER_SECOND, streams=False) == reserved
        estimator.observe(CALL, Usage(input_tokens=1_000, output_tokens=120), 0, written_ns=2 * NS_PER_SECOND)
        assert estimator.given_up(CALL.model, reserved, NS_PER_SECOND, streams=False) == Cost(1, 1_000, 60)
        assert estimator.given_up(CALL.model, reserved, 60 * NS_PER_SECOND, streams=False) == reserved
        assert estimator.given_up("another", reserved, NS_PER_SECOND, streams=False) == reserved

    def test_nothing_of_a_stream_that_was_given_up_before_it_began(self) -> None:
        estimator, reserved = CostEstimator(), Cost(1, 1_000, 500)
        assert estimator.given_up(CALL.model, reserved, NS_PER_SECOND, streams=True) == Cost(1, 1_000, 0)
        estimator.observe(CALL, Usage(output_tokens=120), 0, written_ns=2 * NS_PER_SECOND)
        assert estimator.given_up(CALL.model, reserved, NS_PER_SECOND, streams=True) == Cost(1, 1_000, 0)

    def test_an_answer_without_output_teaches_no_pace(self) -> None:
        estimator = CostEstimator()
        estimator.observe(CALL, Usage(input_tokens=1_000), 0, written_ns=NS_PER_SECOND)
        reserved = Cost(1, 1_000, 500)
        assert estimator.given_up(CALL.model, reserved, NS_PER_SECOND, streams=False) == reserved

    def test_the_time_for_a_response_is_unknown_at_first(self) -> None:
        assert CostEstimator().response_ns(CALL.model, 500, streams=False) == 0
        assert CostEstimator().response_ns(CALL.model, 500, streams=True) == 0

    def test_a_response_takes_its_expected_output_at_the_usual_pace(self) -> None:
        estimator = CostEstimator()
        estimator.observe(CALL, Usage(input_tokens=1_000, output_tokens=120), 0, written_ns=2 * NS_PER_SECOND)
        assert estimator.response_ns(CALL.model, 300, streams=False) == 5 * NS_PER_SECOND
        assert estimator.response_ns(CALL.model, 300, streams=True) == 0

    def test_a_response_takes_no_more_than_eight_times_as_long_as_the_mean_one(self) -> None:
        estimator = CostEstimator()
        estimator.observe(CALL, Usage(input_tokens=1_000, output_tokens=120), 0, written_ns=2 * NS_PER_SECOND)
        assert estimator.response_ns(CALL.model, 4_000, streams=False) == 16 * NS_PER_SECOND

    def test_a_stream_takes_the_mean_time_to_its_first_token(self) -> None:
        estimator = CostEstimator()
        for seconds in (1, 2):
            usage = Usage(input_tokens=1_000, output_tokens=120)
            estimator.observe(CALL, usage, 0, first_token_ns=seconds * NS_PER_SECOND)
        assert estimator.response_ns(CALL.model, 300, streams=True) == 1.5 * NS_PER_SECOND
        assert estimator.response_ns(CALL.model, 300, streams=False) == 0

    def test_a_timeout_counts_as_a_response_that_took_as_long(self) -> None:
        estimator = CostEstimator()
        estimator.observe_timeout(CALL.model, 300, 6 * NS_PER_SECOND, streams=False)
        assert estimator.response_ns(CALL.model, 300, streams=False) == 6 * NS_PER_SECOND
        estimator.observe_timeout(CALL.model, 300, 4 * NS_PER_SECOND, streams=True)
        assert estimator.response_ns(CALL.model, 300, streams=True) == 4 * NS_PER_SECOND

    def test_a_timeout_that_is_shorter_than_expected_says_nothing(self) -> None:
        estimator = CostEstimator()
        for streams in (True, False):
            for seconds in (4, 1):
                estimator.observe_timeout(CALL.model, 300, seconds * NS_PER_SECOND, streams=streams)
            assert estimator.response_ns(CALL.model, 300, streams=streams) == 4 * NS_PER_SECOND

    def test_a_timeout_without_expected_output_says_nothing_of_the_pace(self) -> None:
        estimator = CostEstimator()
        estimator.observe_timeout(CALL.model, 0, 6 * NS_PER_SECOND, streams=False)
        assert estimator.response_ns(CALL.model, 300, streams=False) == 0


class TestInput:
    def test_the_tokens_per_byte_of_a_model_are_learned_from_all_its_callers(self) -> None:
        estimating = Estimating()
        estimating.learn(Usage(input_tokens=1_300, output_tokens=1))
        assert estimating.cost(structs.replace(CALL, caller="team-b", size=PromptSize(8_000))).input_tokens == 2_600
        assert estimating.cost(structs.replace(CALL, model="claude-haiku-5")).input_tokens == 1_000

    def test_what_was_read_from_the_cache_is_part_of_the_size(self) -> None:
        estimating = Estimating()
        estimating.learn(Usage(100, 1, cache_read_tokens=700, cache_creation_tokens=500))
        assert estimating.cost().input_tokens == 1_300

    @pytest.mark.parametrize(
        ("shape", "usage"), [(CALL, Usage()), (structs.replace(CALL, size=PromptSize()), Usage(100, 1))]
    )
    def test_an_answer_that_tells_no_ratio_teaches_none(self, shape: MessageShape, usage: Usage) -> None:
        estimating = Estimating()
        estimating.learn(usage, shape)
        assert estimating.cost().input_tokens == 1_000

    def test_one_answer_that_says_far_too_much_does_not_ruin_the_price(self) -> None:
        estimating = Estimating()
        estimating.learn(Usage(1_000_000))
        assert estimating.cost().input_tokens == 8_000, "not a thousand times what was believed, but eight"
        estimating.learn(Usage(1_000), times=200)
        estimating.learn(Usage(1_000_000))
        assert estimating.cost().input_tokens == pytest.approx(1_140, abs=30)

    def test_the_first_answers_weigh_the_same_and_a_change_is_followed_later(self) -> None:
        estimating = Estimating()
        estimating.learn(Usage(1_000))
        estimating.learn(Usage(2_000))
        assert estimating.cost().input_tokens == 1_500
        estimating.learn(Usage(2_000), times=200)
        assert estimating.cost().input_tokens == pytest.approx(2_000, rel=0.01)
        estimating.learn(Usage(1_000), times=35)
        assert estimating.cost().input_tokens == pytest.approx(1_500, rel=0.01)

    def test_from_the_fiftieth_on_each_weighs_a_fiftieth(self) -> None:
        estimating = Estimating()
        estimating.learn(Usage(1_000), times=80)
        estimating.learn(Usage(2_000))
        assert estimating.cost().input_tokens == 1_020


class TestMedia:
    MIXED = structs.replace(CALL, size=PromptSize(4_000, image_tokens=1_296, pages=2, fixed_tokens=290))

    def test_at_first_the_documented_rules_say_what_they_cost(self) -> None:
        assert Estimating().cost(self.MIXED).input_tokens == 1_000 + 1_296 + 4_600 + 290

    @pytest.mark.parametrize(("model", "tokens"), [("claude-haiku-4-5", 1_568), ("claude-haiku-5-5", 4_784)])
    def test_an_image_that_stands_elsewhere_may_be_as_large_as_the_model_takes(self, model: str, tokens: int) -> None:
        shape = structs.replace(CALL, model=model, size=PromptSize(unsized_images=2))
        assert Estimating().cost(shape).input_tokens == 2 * tokens

    @pytest.mark.parametrize(
        ("kind", "each"), [("image_tokens", 7), ("unsized_images", 700), ("pages", 700), ("documents", 700)]
    )
    def test_what_each_kind_costs_is_learned_from_calls_that_it_makes_up_most_of(self, kind: str, each: int) -> None:
        estimating = Estimating()
        shape = structs.replace(CALL, size=PromptSize(400)._replace(**{kind: 5_000}))
        estimating.learn(Usage(100 + 5_000 * each), shape)
        assert estimating.cost(shape).input_tokens == 100 + 5_000 * each
        assert estimating.cost().input_tokens == 1_000, "text is what it was"
        assert estimating.cost(structs.replace(shape, model="another")).input_tokens != 100 + 5_000 * each

    def test_text_is_learned_beside_a_small_image(self) -> None:
        estimating = Estimating()
        shape = structs.replace(CALL, size=PromptSize(4_000, image_tokens=64))
        estimating.learn(Usage(2_064), shape)
        assert estimating.cost().input_tokens == 2_000

    @pytest.mark.parametrize(
        ("size", "tokens"),
        [(PromptSize(400, fixed_tokens=290), 395), (PromptSize(4_000, fixed_tokens=290), 290), (PromptSize(), 100)],
        ids=["mostly what the upstream adds", "less than it can be", "nothing"],
    )
    def test_a_sum_that_tells_nothing_of_a_kind_teaches_nothing(self, size: PromptSize, tokens: int) -> None:
        estimating = Estimating()
        estimating.learn(Usage(tokens), structs.replace(CALL, size=size))
        assert estimating.cost().input_tokens == 1_000

    def test_an_image_in_the_cache_costs_nothing(self) -> None:
        estimating = Estimating()
        prefix = Prefix(3, 1_000, PromptSize(image_tokens=1_296, fixed_tokens=290), marked=True)
        shape = structs.replace(self.MIXED, prefixes=(prefix,))
        estimating.learn(Usage(5_350, cache_creation_tokens=1_836), shape)
        assert estimating.cost(shape).input_tokens == 750 + 4_600


class TestOutput:
    def test_the_first_answers_move_what_is_usual_little(self) -> None:
        estimating = Estimating()
        estimating.learn(Usage(output_tokens=100))
        assert estimating.cost().output_tokens == 775, "as if three of 1,000 had come before"

    def test_a_caller_has_its_own_figure_per_model_and_band_of_max_tokens(self) -> None:
        estimating = Estimating()
        estimating.learn(Usage(output_tokens=30), times=300)
        estimating.learn(Usage(output_tokens=400), structs.replace(CALL, caller="team-b"), times=300)
        assert estimating.cost().output_tokens == pytest.approx(30, rel=0.1)
        assert estimating.cost(structs.replace(CALL, max_tokens=600)).output_tokens == pytest.approx(30, rel=0.1)
        assert estimating.cost(structs.replace(CALL, caller="team-b")).output_tokens == pytest.approx(400, rel=0.1)

    def test_a_new_caller_gets_the_figure_of_its_band_or_else_of_the_pool(self) -> None:
        estimating = Estimating()
        estimating.learn(Usage(output_tokens=30), times=300)
        estimating.learn(Usage(output_tokens=90), structs.replace(CALL, max_tokens=None), times=300)
        assert estimating.cost(structs.replace(CALL, caller="team-b")).output_tokens == pytest.approx(30, rel=0.1)
        assert estimating.cost(structs.replace(CALL, caller="team-b", max_tokens=None)).output_tokens == pytest.approx(
            90, abs=9
        )
        assert estimating.cost(structs.replace(CALL, max_tokens=64_000)).output_tokens == pytest.approx(90, rel=0.1)
        assert estimating.cost(structs.replace(CALL, model="claude-haiku-5")).output_tokens == 1_000

    def test_models_that_share_a_pool_begin_alike(self) -> None:
        estimating = Estimating()
        estimating.learn(Usage(output_tokens=90), structs.replace(CALL, model="claude-opus-4-7"), times=300)
        assert estimating.cost(structs.replace(CALL, model="claude-opus-4-8")).output_tokens == pytest.approx(
            90, rel=0.1
        )
        assert estimating.cost(structs.replace(CALL, model="claude-opus-5")).output_tokens == 1_000

    def test_a_caller_begins_with_what_the_others_were_like(self) -> None:
        estimating = Estimating()
        estimating.learn(Usage(output_tokens=900), times=300)
        estimating.learn(Usage(output_tokens=100), structs.replace(CALL, caller="team-b"))
        assert estimating.cost(structs.replace(CALL, caller="team-b")).output_tokens == pytest.approx(700, abs=20)

    def test_max_tokens_caps_what_is_expected(self) -> None:
        estimating = Estimating()
        estimating.learn(Usage(output_tokens=900), times=100)
        assert estimating.cost(structs.replace(CALL, max_tokens=700)).output_tokens == 700
        assert estimating.overdraw(structs.replace(CALL, max_tokens=700)) == 0

    def test_an_answer_may_be_longer_by_one_and_a_half_standard_deviations(self) -> None:
        estimating = Estimating()
        assert estimating.overdraw() == 0, "nothing is known"
        for number in range(1_000):
            estimating.learn(Usage(output_tokens=800 if number % 10 == 0 else 100))
        assert estimating.cost().output_tokens + estimating.overdraw() == pytest.approx(485, rel=0.05)

    def test_an_answer_without_output_teaches_nothing(self) -> None:
        estimating = Estimating()
        estimating.learn(Usage(input_tokens=1_000))
        assert estimating.cost().output_tokens == 1_000


class TestCache:
    def test_what_is_read_from_the_cache_is_what_the_estimate_leaves_out(self) -> None:
        estimating = Estimating()
        estimating.learn(Usage(2_000, 1), times=50)
        estimating.learn(Usage(1_000, 1, cache_creation_tokens=1_000), CACHING)
        cached = estimating.estimator.cached_tokens(CACHING, estimating.now_ns)
        assert cached == pytest.approx(1_000, rel=0.1), "this model has half a token for each byte"
        whole, rest = (estimating.cost(shape).input_tokens for shape in (CALL, CACHING))
        assert cached + rest == pytest.approx(whole, abs=1)
        empty = structs.replace(CALL, prefixes=(Prefix(9, 0, PromptSize(), marked=True),))
        estimating.learn(Usage(1_999, 1, cache_creation_tokens=1), empty)
        assert estimating.estimator.cached_tokens(empty, estimating.now_ns) == 0

    def test_a_prefix_that_was_stored_or_read_is_not_counted_for_280_seconds(self) -> None:
        for usage in (Usage(500, 1, cache_creation_tokens=500), Usage(500, 1, cache_read_tokens=500)):
            estimating = Estimating()
            estimating.learn(usage, CACHING)
            assert estimating.cost(CACHING).input_tokens == 500
            assert estimating.estimator.quote(CACHING, estimating.now_ns)[0] == estimating.cost(CACHING)
            estimating.now_ns += 280 * NS_PER_SECOND
            assert estimating.cost(CACHING).input_tokens == 1_000

    def test_another_use_makes_it_last_longer(self) -> None:
        estimating = Estimating()
        estimating.learn(Usage(500, 1, cache_creation_tokens=500), CACHING)
        estimating.now_ns = 200 * NS_PER_SECOND
        estimating.learn(Usage(500, 1, cache_read_tokens=500), CACHING)
        estimating.now_ns = 400 * NS_PER_SECOND
        assert estimating.cost(CACHING).input_tokens == 500

    def test_the_longest_known_beginning_is_found_whether_the_call_marks_it_or_not(self) -> None:
        estimating = Estimating()
        marked = (SYSTEM, TURN._replace(marked=True))
        estimating.learn(Usage(250, 1, cache_creation_tokens=750), structs.replace(CALL, prefixes=marked))
        later = structs.replace(CALL, prefixes=(SYSTEM, TURN, Prefix(4, 3_500, PromptSize(), marked=True)))
        assert estimating.cost(later).input_tokens == 250

    def test_what_is_not_marked_is_not_stored(self) -> None:
        estimating = Estimating()
        estimating.learn(Usage(500, 1, cache_creation_tokens=500), structs.replace(CALL, prefixes=(TURN,)))
        assert estimating.cost(structs.replace(CALL, prefixes=(TURN,))).input_tokens == 1_000

    def test_an_answer_that_neither_stored_nor_read_proves_that_nothing_is_cached(self) -> None:
        estimating = Estimating()
        estimating.learn(Usage(1_000, 1), CACHING)
        assert estimating.cost(CACHING).input_tokens == 1_000

    def test_a_price_is_never_negative(self) -> None:
        estimating = Estimating()
        larger = structs.replace(CALL, prefixes=(SYSTEM._replace(text_bytes=5_000),))
        estimating.learn(Usage(1, 1, cache_creation_tokens=999), larger)
        assert estimating.cost(larger).input_tokens == 0


class TestQuote:
    @pytest.mark.parametrize("max_tokens", [None, 1_000])
    def test_follows_each_answer_as_an_estimate_does(self, max_tokens: int | None) -> None:
        estimating, shape = Estimating(), structs.replace(CALL, max_tokens=max_tokens)
        for output_tokens in (800, 100, 700):
            estimating.learn(Usage(1_000, output_tokens), shape)
            for _ in range(2):
                assert estimating.estimator.quote(shape, estimating.now_ns)[0] == estimating.cost(shape)

    def test_is_no_more_than_each_call_allows_whatever_others_of_its_band_do(self) -> None:
        estimating = Estimating()
        estimating.learn(Usage(1_000, 950), times=50)
        for max_tokens in (1_000, 600, 1_000):
            shape = structs.replace(CALL, max_tokens=max_tokens)
            assert estimating.estimator.quote(shape, estimating.now_ns)[0] == estimating.cost(shape)

    def test_counts_what_is_cached_before_any_answer_had_output(self) -> None:
        estimating = Estimating()
        estimating.learn(Usage(500, cache_creation_tokens=500), CACHING)
        assert estimating.estimator.quote(CACHING, estimating.now_ns) == (Cost(1, 500, 1_000), 0)


class TestMemory:
    def test_prefixes_that_were_not_used_for_longest_are_forgotten(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(cached_prefixes, "_MOST_PREFIXES", 2)
        estimating = Estimating()
        shapes = [structs.replace(CALL, prefixes=(SYSTEM._replace(digest=digest),)) for digest in (1, 2, 3)]
        for number in (0, 1, 0, 2):
            estimating.learn(Usage(500, 1, cache_creation_tokens=500), shapes[number])
        assert [estimating.cost(shape).input_tokens for shape in shapes] == [500, 1_000, 500]

    def test_callers_that_were_not_heard_of_for_longest_are_forgotten(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(output_lengths, "_MOST_KEYS", 4)  # two for the model, and two callers
        estimating = Estimating()
        callers = [structs.replace(CALL, caller=name) for name in ("team-a", "team-b", "team-c")]
        for number, output_tokens in ((0, 100), (1, 200), (0, 100), (2, 600)):
            estimating.learn(Usage(output_tokens=output_tokens), callers[number], times=100)
        found = [estimating.cost(shape).output_tokens for shape in callers]
        assert found[0] == pytest.approx(100, rel=0.1)
        assert found[1] == pytest.approx(535, rel=0.1), "the mean of all, of which the latest weigh most"
        assert found[2] == pytest.approx(600, rel=0.1)

    def test_models_that_were_not_heard_of_for_longest_are_forgotten(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(token_rates, "_MOST_MODELS", 1)
        estimating = Estimating()
        for model in ("a", "b"):
            estimating.learn(Usage(input_tokens=2_000), structs.replace(CALL, model=model))
        assert [estimating.cost(structs.replace(CALL, model=model)).input_tokens for model in ("a", "b")] == [
            1_000,
            2_000,
        ]
