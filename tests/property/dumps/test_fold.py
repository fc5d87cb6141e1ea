"""The fold of a log: the same in every process, from a checkpoint as from the beginning, and with steps repeated."""

import hashlib
import os
import random
import sys
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from support.dumps import START_NS, round_trip
from support.pool_steps import ADAPTIVE, SETTINGS, Choose, StepSource
from support.programs import output_of
from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S
from tidegate.stores.fold import Fold
from tidegate.stores.pools import Pools
from tidegate.stores.steps import Batch, Folded, Rejoin

Log = list[tuple[int, Batch]]


def drawn_log(choose: Choose, batches: int) -> Log:
    """The batches of two replicas, in the order in which they are folded, each with its time."""
    source, now_ns, log, numbers = StepSource(choose), START_NS, Log(), {"a": 1, "b": 1}
    for _ in range(batches):
        drawn = [source.draw({}) for _ in range(choose([1, 1, 2, 5]))]
        now_ns += drawn[0][0]
        replica = choose(["a", "b"])
        log.append((now_ns, Batch(replica, numbers[replica], tuple(step for _, step in drawn))))
        numbers[replica] += len(drawn)
    return log


def new_fold() -> Fold:
    return Fold(Pools({"default": ADAPTIVE, "q": SETTINGS[2]}, SETTINGS[0]))


def folded(fold: Fold, log: Log) -> list[Folded]:
    return [fold.fold(batch, now_ns) for now_ns, batch in log]


def in_a_log(data: st.DataObject) -> Choose:
    return lambda options: data.draw(st.sampled_from(options))


@given(st.data(), st.integers(1, 12), st.integers(0, 12))
def test_a_checkpoint_and_the_rest_equal_the_whole(data: st.DataObject, batches: int, folded_before: int) -> None:
    log = drawn_log(in_a_log(data), batches)
    whole, leader = new_fold(), new_fold()
    results = folded(whole, log)
    assert folded(leader, log[:folded_before]) == results[:folded_before]
    checkpoint_ns = log[min(folded_before, batches) - 1][0] if folded_before else START_NS
    successor = Fold.restore(round_trip(leader.dump(checkpoint_ns)), checkpoint_ns)
    assert folded(successor, log[folded_before:]) == results[folded_before:]
    end_ns = log[-1][0] + S
    assert successor.dump(end_ns) == whole.dump(end_ns)


@given(st.data(), st.integers(1, 8))
def test_steps_sent_again_or_out_of_order_change_nothing(data: st.DataObject, batches: int) -> None:
    choose = in_a_log(data)
    log = drawn_log(choose, batches)
    once, again = new_fold(), new_fold()
    for place, (now_ns, batch) in enumerate(log):
        expected = once.fold(batch, now_ns)
        later = [each for _, each in log[place + 1 :] if each.replica == batch.replica]
        if later and not isinstance(later[-1].steps[0], Rejoin):
            assert again.fold(later[-1], now_ns).answers == (), "steps before it are missing"
        assert again.fold(batch, now_ns) == expected
        _, earlier = choose(log[: place + 1])
        assert again.fold(earlier, now_ns).changes == ()
    end_ns = log[-1][0]
    assert again.dump(end_ns) == once.dump(end_ns)


def state_digest(seed: int) -> str:
    """The digest of all results and of the last state of a long log."""
    log, fold = drawn_log(random.Random(seed).choice, 400), new_fold()  # noqa: S311
    return hashlib.sha256(msgspec.msgpack.encode([folded(fold, log), fold.dump(log[-1][0])])).hexdigest()


def test_two_processes_with_different_hashes_fold_a_log_alike() -> None:
    program = "from tests.property.dumps.test_fold import state_digest; print(state_digest(1))"
    digests = set[Any]()
    for hash_seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(["tests", "."])}
        digests.add(output_of(sys.executable, "-c", program, env=environment))
    assert len(digests) == 1
