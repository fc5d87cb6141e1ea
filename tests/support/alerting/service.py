"""Faults of the service itself, and of its monitoring."""

from concurrent.futures import ThreadPoolExecutor

from support.alerting.fault import FAILS, WAITS, WINDOW_SECONDS, fault
from support.alerting.stack import POOL, Stack


@fault("TidegateDown warning", "TidegateDown critical", allows=FAILS)
def replicas_that_die(stack: Stack) -> None:
    stack.serve("b")
    stack.scrape(*stack.addresses)
    stack.wait_for(lambda: len(stack.query("up == 1")) == 2, "both replicas")
    lost = stack.addresses[1]
    ports = {"b": stack.stop("b")}
    stack.fires("TidegateDown", "warning", instance=lost)
    ports["a"] = stack.stop("a")
    stack.fires("TidegateDown", "critical")
    stack.fires("TidegateDown", "warning", instance=lost, silenced=True)
    for name, port in ports.items():
        stack.serve(name, port)
    stack.resolves("TidegateDown", "critical")
    stack.resolves("TidegateDown", "warning")


@fault("TidegateRestarts warning")
def crash_loop(stack: Stack) -> None:
    (replica,) = stack.addresses
    for _ in range(20):  # on a busy machine the first of them leave the window before the last
        stack.restart("a")
        if stack.query('ALERTS{alertname="TidegateRestarts", alertstate="firing"}'):
            break
    stack.fires("TidegateRestarts", instance=replica)
    stack.silent("critical")
    stack.resolves("TidegateRestarts")


@fault("TidegateMetricsAbsent critical")
def metrics_that_are_absent(stack: Stack) -> None:
    stack.scrape()
    stack.fires("TidegateMetricsAbsent", "critical")
    stack.scrape(*stack.addresses)
    stack.resolves("TidegateMetricsAbsent", "critical")
    stack.scrape(stack.alertmanager.removeprefix("http://"))  # has metrics, but is not Tidegate
    stack.fires("TidegateMetricsAbsent", "critical")
    stack.scrape(*stack.addresses)
    stack.resolves("TidegateMetricsAbsent", "critical")


@fault("TidegateNoTraffic warning", within_seconds=WINDOW_SECONDS)
def silence(stack: Stack) -> None:
    with stack.load(workers=1, pause_seconds=0.3):
        stack.wait_for(lambda: stack.query("sum(increase(tidegate_requests_total[30s])) > 20"), "usual traffic")
    stack.fires("TidegateNoTraffic")
    stack.call()
    stack.call()
    stack.resolves("TidegateNoTraffic")


@fault("TidegateEventLoopLag warning", "TidegateOverheadHigh warning", allows=WAITS, within_seconds=WINDOW_SECONDS)
def a_process_without_a_processor(stack: Stack) -> None:
    stack.call()
    with stack.load(workers=4):
        with stack.throttled(quota_seconds=0.008, stopped_seconds=0.15):
            stack.fires("TidegateEventLoopLag", instance=stack.addresses[0])
            stack.fires("TidegateOverheadHigh", route="/v1/messages")
        stack.resolves("TidegateOverheadHigh")
    stack.resolves("TidegateEventLoopLag")


@fault("TidegateLeaseLeak warning", clock_ahead=True)
def a_lease_that_does_not_end(stack: Stack) -> None:
    stack.call()
    # The lease of this call may be in the latest scrape.
    stack.wait_for(lambda: not stack.query("tidegate_oldest_lease_seconds"), "no lease")
    stack.fault("slow_stream", delay_seconds=3600)
    with ThreadPoolExecutor(1) as forgotten:
        forgotten.submit(stack.call, timeout_seconds=86_400)
        stack.wait_for(lambda: stack.query("tidegate_oldest_lease_seconds"), "a lease")
        stack.wait_half_an_hour()
        stack.fires("TidegateLeaseLeak", pool=POOL)
        stack.restart("a")
    stack.resolves("TidegateLeaseLeak")


@fault("TidegateLedgerNotWritten warning", variables={"TIDEGATE_STATE_DIR": "state"}, clock_ahead=True)
def a_full_disk(stack: Stack) -> None:
    stack.call()
    stack.wait_for(lambda: stack.query("tidegate_ledger_unwritten_seconds == 0"), "written usage")
    with stack.full_disk():
        stack.call()
        stack.wait_for(lambda: stack.query("tidegate_ledger_up == 0"), "a failed write")
        stack.wait_half_an_hour()
        stack.fires("TidegateLedgerNotWritten", instance=stack.addresses[0])
        stack.silent("critical")
        assert stack.call() == 200
    stack.resolves("TidegateLedgerNotWritten")
