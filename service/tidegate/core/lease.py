"""What was granted, until it ends."""

from tidegate.core.dimension import Cost
from tidegate.core.limit import DimensionLimit
from tidegate.core.store import Demand

__all__ = ["Lease"]


class Lease:
    """The demand, what it is charged, what is known of it so far, and the limits that were charged.

    A limit that is learned while the lease lives does not count it: what the upstream reported as remaining does.

    Attributes:
        answered: whether the head of an answer has come.
        counted: what the upstream has charged, as far as it is known: output only as it comes.
        open_input_tokens, open_output_tokens: what of the charge is an estimate still.
    """

    __slots__ = (
        "answered",
        "charged",
        "counted",
        "demand",
        "granted_ns",
        "known",
        "limits",
        "open_input_tokens",
        "open_output_tokens",
    )

    def __init__(self, demand: Demand, limits: tuple[tuple[int, DimensionLimit], ...], granted_ns: int) -> None:
        self.demand = demand
        self.answered = False
        self.charged = demand.cost
        self.counted = demand.cost._replace(output_tokens=0)
        self.known = Cost()
        _, self.open_input_tokens, self.open_output_tokens = demand.cost
        self.limits = limits
        self.granted_ns = granted_ns
