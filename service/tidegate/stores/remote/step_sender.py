"""Sends the steps of a follower in numbered batches, and again until the leader has folded them."""

import asyncio
from collections.abc import Iterable
from typing import Final

from tidegate.stores.remote.messages import Channel, Steps
from tidegate.stores.steps import Batch, Rejoin, Step

__all__ = ["StepSender"]

_MOST_STEPS: Final = 500
"""Steps in one batch. The leader folds a batch in one go, and 500 take about 15 ms."""


class StepSender:
    """Numbers the steps of a replica and sends them. Steps of one turn of the event loop go together.

    A step is settled once the leader has folded it and, if it has an answer that matters, has answered it. Steps that
    are not settled for `resend_seconds` are sent again.

    Args:
        replica: name of the replica.
        channel: to the leader.
        resend_seconds: as above.
        after: the number of the last step that this replica has sent before.

    Attributes:
        last: the number of the last step.
        folded: all steps up to this number are folded, as far as it is known.
    """

    def __init__(self, replica: str, channel: Channel, resend_seconds: float, after: int = 0) -> None:
        self._replica = replica
        self._channel = channel
        self._resend_seconds = resend_seconds
        self._loop = asyncio.get_running_loop()
        self.last = self.folded = after
        self._unsettled: dict[int, Step] = {}  # by number, in its order
        self._awaited: set[int] = set()  # numbers of steps whose answer matters
        self._fresh: list[int] = []  # numbers of steps that were not sent yet
        self._timer: asyncio.TimerHandle | None = None
        self._sent_before_timer = 0
        self._is_closed = False

    def send(self, step: Step, *, awaits_answer: bool = False) -> int:
        """Sends a step at the end of this turn of the event loop. Returns its number."""
        number = self.last = self.last + 1
        if self._is_closed:
            return number
        self._unsettled[number] = step
        if awaits_answer:
            self._awaited.add(number)
        if not self._fresh:
            self._loop.call_soon(self.flush)
        self._fresh.append(number)
        return number

    def repeat(self, steps: Iterable[tuple[int, Step]]) -> None:
        """Sends steps again that were settled, for an answer that says what is true now."""
        for number, step in steps:
            self._unsettled[number] = step
            self._awaited.add(number)
        self._unsettled = dict(sorted(self._unsettled.items()))
        self._send_again()

    def restart(self, folded: int, channel: Channel | None = None) -> list[Step]:
        """Sends no earlier step again. Returns those after the number `folded`, in their order.

        Further steps go to `channel`, if it is given.
        """
        self._channel = channel or self._channel
        unfolded = [step for number, step in self._unsettled.items() if number > folded]
        self._unsettled.clear()
        self._awaited.clear()
        self._fresh.clear()
        self.folded = 0
        return unfolded

    def settle(self, folded: int, answered: Iterable[int]) -> None:
        """All steps up to the number `folded` are folded, and these numbers are answered."""
        self.folded = max(self.folded, folded)
        self._awaited.difference_update(answered)
        settled = []
        for number in self._unsettled:
            if number > folded:
                break
            if number not in self._awaited:
                settled.append(number)
        for number in settled:
            del self._unsettled[number]

    def close(self) -> None:
        """Sends nothing any more."""
        self._is_closed = True
        self._unsettled.clear()
        self._fresh.clear()
        if self._timer is not None:
            self._timer.cancel()

    def flush(self) -> None:
        """Sends the steps of this turn now."""
        numbers, self._fresh = self._fresh, []
        self._send(numbers)
        if self._timer is None and numbers:
            self._sent_before_timer = numbers[-1]
            self._timer = self._loop.call_later(self._resend_seconds, self._on_timer)

    def _on_timer(self) -> None:
        """Sends everything again if the oldest step has been on its way for long enough."""
        self._timer = None
        oldest = next(iter(self._unsettled), None)
        if oldest is None:
            return
        if oldest <= self._sent_before_timer:
            self._send_again()
        self._sent_before_timer = next(reversed(self._unsettled))
        self._timer = self._loop.call_later(self._resend_seconds, self._on_timer)

    def _send_again(self) -> None:
        fresh = set(self._fresh)
        self._send([number for number in self._unsettled if number not in fresh])

    def _send(self, numbers: list[int]) -> None:
        """Sends the steps of ascending numbers in batches of consecutive ones."""
        start = 0
        for end in range(1, len(numbers) + 1):
            is_run = end < len(numbers) and numbers[end] == numbers[end - 1] + 1
            is_run = is_run and not isinstance(self._unsettled[numbers[end]], Rejoin)  # the first of its batch
            if not is_run or end - start == _MOST_STEPS:
                steps = tuple(self._unsettled[number] for number in numbers[start:end])
                self._channel.send(Steps(Batch(self._replica, numbers[start], steps)))
                start = end
