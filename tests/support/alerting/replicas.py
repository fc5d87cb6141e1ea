"""Faults of the store that replicas share."""

import threading
import time

from support.alerting.fault import WAITS, WINDOW_SECONDS, fault
from support.alerting.stack import Stack

_STORE = {
    **WAITS,
    "TidegateDegraded": "A store that pauses is lost for this time.",
    "TidegateStoreSlow": "A store that pauses is slow.",
    "TidegateLeaderChanges": "A leader without a store leads no more.",
}


@fault("TidegateDegraded warning", store=True, allows=_STORE)
def a_store_that_is_lost(stack: Stack) -> None:
    stack.call()
    stack.pause_store(30)
    stack.fires("TidegateDegraded", instance=stack.addresses[0])
    stack.silent("critical")
    stack.resolves("TidegateDegraded")


@fault("TidegateStoreSlow warning", store=True, allows=_STORE, within_seconds=WINDOW_SECONDS)
def a_store_that_is_slow(stack: Stack) -> None:
    stack.call()
    over = threading.Event()

    def slow_down() -> None:
        while not over.wait(0.05):
            stack.pause_store(0.2)  # a replica waits for 250 ms

    slowing = threading.Thread(target=slow_down)
    slowing.start()
    try:
        stack.fires("TidegateStoreSlow", instance=stack.addresses[0])
        stack.silent("critical")
    finally:
        over.set()
        slowing.join()
    stack.resolves("TidegateStoreSlow")


@fault("TidegateLeaderSilent critical", store=True, allows=WAITS)
def a_lead_that_does_not_end(stack: Stack) -> None:
    """Somebody holds the lead who does not lead."""
    stack.call()
    with stack.lead_held(), stack.load({"timeout_seconds": 4}):
        stack.fires("TidegateLeaderSilent", "critical")
    stack.resolves("TidegateLeaderSilent", "critical")


@fault("TidegateLeaderChanges warning", store=True, allows=_STORE)
def a_leader_that_loses_the_store_again_and_again(stack: Stack) -> None:
    stack.call()

    def is_lost() -> bool:
        """Pause the store until a scrape saw that nobody leads. A busy machine may scrape only before and after."""
        stack.pause_store(2)
        deadline = time.monotonic() + 6
        while time.monotonic() < deadline:
            if stack.query("tidegate_leader == 0"):
                return True
            time.sleep(0.2)
        return False

    firing = 'ALERTS{alertname="TidegateLeaderChanges",alertstate="firing"}'
    for _ in range(15):  # 6 suffice, if they are no more than 30 s apart
        if stack.query(firing):
            break
        stack.wait_for(is_lost, "a replica that does not lead")
        stack.wait_for(lambda: stack.query("tidegate_leader == 1"), "a replica that leads")
    stack.fires("TidegateLeaderChanges")
    stack.silent("critical")
    stack.resolves("TidegateLeaderChanges")
