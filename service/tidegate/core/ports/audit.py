"""The protocol of the record of what admins have changed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

__all__ = ["AuditEntry", "AuditTrail", "Values"]

Values = Mapping[str, object]
"""Names and values in JSON. Never a secret."""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One change by an admin.

    Attributes:
        at: when, in seconds since 1970-01-01 UTC.
        who: the author.
        action: such as `key.create` or `pause`.
        target: what was changed, such as `caller web`.
        before, after: the changed values.
    """

    at: int
    who: str
    action: str
    target: str
    before: Values = field(default_factory=dict)
    after: Values = field(default_factory=dict)


class AuditTrail(Protocol):
    """The record of what admins have changed."""

    def record(self, who: str, action: str, target: str, before: Values, after: Values) -> None:
        """Records a change. It is written within a second; never waits for the database."""
        ...

    def entries(self, since: int, until: int, limit: int) -> Sequence[AuditEntry]:
        """The newest changes in a span of time, the newest first. Waits for the database.

        Raises:
            LedgerUnavailable: the database does not answer.
        """
        ...
