"""Reads the session, the agent and the priority class of a request from its header fields.

A team often shares one key. Its requests are divided into sessions, and those of a session into agents, so that the
many requests of one agent do not delay all others of the key. A session belongs to its caller: the same id under
another key is another session.
"""

import hashlib
import re
from functools import lru_cache
from typing import Final, NamedTuple

from tidegate.core.claude.header_names import (
    CLAUDE_CODE_AGENT_ID,
    CLAUDE_CODE_REQUEST_CLASS,
    CLAUDE_CODE_SESSION_ID,
    TIDEGATE_PRIORITY,
    TIDEGATE_SESSION,
)
from tidegate.core.domain.caller import Caller, Priority
from tidegate.core.domain.errors import ConfigurationError
from tidegate.core.ports.transport import Fields

__all__ = ["RequestOrigin", "origin_of", "plain_id", "with_priority"]

_SESSION, _PRIORITY = TIDEGATE_SESSION.encode(), TIDEGATE_PRIORITY.encode()
_CLAUDE_SESSION, _CLAUDE_AGENT = CLAUDE_CODE_SESSION_ID.encode(), CLAUDE_CODE_AGENT_ID.encode()
_CLAUDE_CLASS: Final = CLAUDE_CODE_REQUEST_CLASS.encode()

_PLAIN_ID: Final = re.compile(rb"[A-Za-z0-9._:-]{1,64}")
"""Ids of this form are used as they are. It includes UUIDs and the ids of Claude Code."""
_HASH_DIGITS: Final = 32

_PRIORITIES: Final = {priority.value.encode(): priority for priority in Priority}
_SIDE_CLASSES: Final = frozenset({b"subagent", b"workflow", b"auxiliary"})
"""Request classes of Claude Code that get at most priority `standard`.

`main` keeps the caller's priority, and so does `compaction`, because the conversation waits for it. `auxiliary` is not
lowered to `batch`: it includes the classifier that decides whether a tool may run, and the main turn waits for that.
"""


class RequestOrigin(NamedTuple):
    """The origin of a request, by which the queue is fair.

    Attributes:
        caller: the caller, with the priority of this request.
        session: the caller's session; empty for requests without one, which form one session together.
        agent: the agent of that session; empty for the main agent.
    """

    caller: Caller
    session: str = ""
    agent: str = ""


def origin_of(caller: Caller, fields: Fields) -> RequestOrigin:
    """The origin of a caller's request with these header fields.

    Tidegate's own fields override those of Claude Code. A field can lower the priority of a request, but not raise it
    above the caller's.

    Raises:
        ConfigurationError: `x-tidegate-priority` is not a priority class.
    """
    session = fields.get(_SESSION) or fields.get(_CLAUDE_SESSION, b"")
    agent = fields.get(_CLAUDE_AGENT, b"")
    if _PRIORITY in fields:
        caller = with_priority(caller, fields)
    elif _CLAUDE_CLASS in fields:
        caller = _with_claude_class(caller, fields[_CLAUDE_CLASS], of_subagent=bool(agent))
    return RequestOrigin(caller, plain_id(session), plain_id(agent))


def with_priority(caller: Caller, fields: Fields) -> Caller:
    """The caller with the priority of `x-tidegate-priority`, if that is lower than its own.

    Raises:
        ConfigurationError: `x-tidegate-priority` is not a priority class.
    """
    given = fields.get(_PRIORITY)
    if given is None:
        return caller
    priority = _PRIORITIES.get(given.strip().lower())
    if priority is None:
        raise ConfigurationError(TIDEGATE_PRIORITY, given.decode("latin-1"), ", ".join(Priority))
    return _lowered(caller, priority)


def _with_claude_class(caller: Caller, given: bytes, *, of_subagent: bool) -> Caller:
    """Ignores unknown classes: Claude Code may add some."""
    is_side = given in _SIDE_CLASSES or (of_subagent and given == b"compaction")
    return _lowered(caller, Priority.STANDARD) if is_side else caller


@lru_cache(maxsize=1_024)  # most requests of a caller ask for the same priority
def _lowered(caller: Caller, priority: Priority) -> Caller:
    return caller.lowered(priority)


def plain_id(name: bytes) -> str:
    """The id as text of at most 64 plain characters. Any other id is replaced by a hash."""
    if not name:
        return ""
    if _PLAIN_ID.fullmatch(name):
        return name.decode("ascii")
    return hashlib.sha256(name).hexdigest()[:_HASH_DIGITS]
