"""The source of budgets for the store: their settings, their spending so far, and the beginnings of their periods."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from tidegate.cli.budgets.calendar import Span, period_of
from tidegate.cli.process.background import background
from tidegate.core.domain.budget import NOTHING_SPENT, BudgetRule, BudgetUnit, BudgetWindow, Each, Spender, Spending
from tidegate.core.domain.errors import LedgerUnavailable
from tidegate.core.domain.events import BatchResultsRead, Event
from tidegate.core.ports.spending_store import SpendingStore
from tidegate.core.pricing.call_prices import CallPrices
from tidegate.settings import Settings
from tidegate.stores.memory import MemoryStore
from tidegate.stores.switchable import SwitchableStore

__all__ = ["BudgetKeeper", "running_budgets"]

logger = logging.getLogger("tidegate.budgets")

_LOOK_SECONDS: Final = 10.0
"""The clock is looked at so often at least: it may have been set, or the machine suspended."""
_RETRY_SECONDS: Final = 2.0

Sums = Sequence[tuple[Spender, Spending]]


@dataclass(slots=True)
class BudgetKeeper:
    """Keeps the budgets of a store.

    Attributes:
        store: decides by the budgets.
        memory: the store of this process, if it is the only one that decides; None: the store is shared.
        ledger: knows what was spent.
        prices: prices batches.
    """

    store: SwitchableStore
    memory: MemoryStore | None
    ledger: SpendingStore
    prices: CallPrices
    _rules: tuple[BudgetRule, ...] = ()
    _periods: Mapping[str, Span] | None = None
    _is_known: bool = False
    _woken: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def handlers(self) -> Iterable[tuple[type[Event], Callable[[Any], None]]]:
        """Event types and their handlers, for observers."""
        return ((BatchResultsRead, self._batch_results_read),)

    @contextlib.asynccontextmanager
    async def keeping(self, rules: tuple[BudgetRule, ...], *, is_sole: bool) -> AsyncIterator[None]:
        """Puts budgets in force, with what was spent before, and keeps them while the block runs.

        `is_sole`: no other process uses the ledger, so that all others that have reserved something are dead.
        """
        if is_sole:
            with self._logged("the budgets begin without the calls that were in progress when the service was killed"):
                await asyncio.to_thread(self.ledger.settle_dead, sole=True)
        self.replace(rules)
        await self._learn()
        async with background(self._run()):
            yield

    def replace(self, rules: tuple[BudgetRule, ...]) -> None:
        """Replaces the budgets. What was spent of new ones is read in the background."""
        self._rules, self._is_known = rules, not rules
        by_session = any(rule.each is Each.SESSION for rule in rules)
        self.ledger.keep(self._reserved if rules and self.memory is not None else None, sessions=by_session)
        self._set(None)
        self._woken.set()

    async def _run(self) -> None:
        loop, settled_at = asyncio.get_running_loop(), 0.0
        while True:
            if not self._is_known:
                await self._learn()
            if self.memory is not None and self._rules and loop.time() - settled_at >= _LOOK_SECONDS:
                settled_at = loop.time()
                await self._settle_dead()
            await self._turn()
            await self._until_next()

    async def _until_next(self) -> None:
        """Waits until the next period begins, or the budgets are replaced, but not for long."""
        ends = [ends for _, ends in (self._periods or {}).values() if ends is not None]
        seconds = min([_LOOK_SECONDS if self._is_known else _RETRY_SECONDS, *(end - self.ledger.now() for end in ends)])
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.001, seconds)):
                await self._woken.wait()
        self._woken.clear()

    async def _turn(self) -> None:
        """Begins new periods.

        A clock that is set may have begun such a period before. So the only process that decides counts what the ledger
        knows of it. If the clock was set back, so do all others.
        """
        before, periods = self._periods or {}, self._now()
        is_set_back = any(span[0] < before.get(calendar, span)[0] for calendar, span in periods.items())
        if is_set_back or (self.memory is not None and periods != before):
            await self._learn()
        begun = {calendar: span for calendar, span in periods.items() if span[0] > before.get(calendar, span)[0]}
        if begun and self._periods == before:
            self._periods = {**before, **begun}
            self.store.turn_budgets(begun)

    async def _learn(self) -> None:
        """Reads what was spent before, and passes it on."""
        rules = self._rules
        with self._logged("the budgets begin without what was spent before, until it can be read"):
            periods, spent = await asyncio.to_thread(self._read, rules)
            # They may have been replaced meanwhile, or another period may have begun.
            if rules is self._rules and periods == self._now():
                self._set(spent)
                self._is_known = True

    def _set(self, spent: Mapping[str, dict[str, int]] | None) -> None:
        self._periods = self._now()
        windows = []
        for rule in self._rules:
            starts, ends = self._periods[rule.calendar]
            windows.append(BudgetWindow(rule, starts, ends, None if spent is None else spent[rule.name]))
        self.store.set_budgets(tuple(windows))

    def _now(self) -> dict[str, Span]:
        """The present periods, by the clock of the database."""
        now = self.ledger.now()
        return {rule.calendar: period_of(rule, now) for rule in self._rules}

    def _read(self, rules: tuple[BudgetRule, ...]) -> tuple[dict[str, Span], dict[str, dict[str, int]]]:
        """The present periods, and the spending of each budget in them, by subject. Waits for the database."""
        now = self.ledger.now()
        periods = {rule.calendar: period_of(rule, now) for rule in rules}
        known: dict[tuple[int, bool], Sums] = {}
        spent: dict[str, dict[str, int]] = {}
        for rule in rules:
            starts, by_session = periods[rule.calendar][0], rule.each is Each.SESSION
            if (starts, by_session) not in known:
                known[starts, by_session] = self.ledger.spent_since(starts, by_session=by_session)
            spent[rule.name] = _by_subject(rule, known[starts, by_session])
        return periods, spent

    async def _settle_dead(self) -> None:
        """Counts what processes had reserved that have died."""
        with self._logged("what dead processes had reserved cannot be counted"):
            for spender, spending in await asyncio.to_thread(self.ledger.settle_dead, sole=False):
                self.store.spend(spender, spending)

    def _reserved(self) -> Mapping[Spender, Spending]:
        """The reservations of calls in progress, unless another process has taken them over."""
        memory = self.memory
        return memory.reserved_now() if memory is not None and self.store.present is memory else {}

    def _batch_results_read(self, event: BatchResultsRead) -> None:
        spent = [self.prices.of_usage(model, usage) for model, usage in event.used]
        spending = Spending(*map(sum, zip(*spent, strict=True))) if spent else NOTHING_SPENT
        spender = Spender(event.caller.label, event.caller.team)
        self.store.spend(spender, spending)
        self.ledger.record(spender, spending)

    @contextlib.contextmanager
    def _logged(self, effect: str) -> Any:
        try:
            yield
        except LedgerUnavailable as error:
            if self._rules:
                logger.error("%s: %s", effect, error)  # noqa: TRY400 - one line


@contextlib.asynccontextmanager
async def running_budgets(keeper: BudgetKeeper | None, settings: Settings, *, takes_over: bool) -> AsyncIterator[None]:
    """Keeps budgets while the block runs. `takes_over`: the process that this one replaces is alive."""
    rules, is_sole = settings.budget_rules(), settings.database_url is None and not takes_over
    async with contextlib.nullcontext() if keeper is None else keeper.keeping(rules, is_sole=is_sole):
        yield


def _by_subject(rule: BudgetRule, sums: Sums) -> dict[str, int]:
    found: dict[str, int] = {}
    for spender, spending in sums:
        subject = rule.subject(spender) if rule.is_for(spender.caller, spender.team) else None
        if subject is not None:
            amount = spending.micro_usd if rule.unit is BudgetUnit.USD else spending.tokens
            found[subject] = found.get(subject, 0) + amount
    return found
