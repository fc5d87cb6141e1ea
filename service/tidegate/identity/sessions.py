"""The session, the agent and the priority class of a request, as its header fields name them.

A caller's key is often shared by a team. Its requests are divided into sessions, and those of a session into agents, so
that one agent's many requests do not hold up all others of the same key. A session belongs to its caller: the same
id under another key is another session.
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

__all__ = ["RequestOrigin", "origin_of", "with_priority"]

_SESSION, _PRIORITY = TIDEGATE_SESSION.encode(), TIDEGATE_PRIORITY.encode()
_CLAUDE_SESSION, _CLAUDE_AGENT = CLAUDE_CODE_SESSION_ID.encode(), CLAUDE_CODE_AGENT_ID.encode()
_CLAUDE_CLASS: Final = CLAUDE_CODE_REQUEST_CLASS.encode()

_PLAIN_ID: Final = re.compile(rb"[A-Za-z0-9._:-]{1,64}")
"""Ids of this form are kept; it includes UUIDs and the ids that Claude Code makes."""
_HASH_DIGITS: Final = 32

_PRIORITIES: Final = {priority.value.encode(): priority for priority in Priority}
_BESIDE_THE_MAIN_TURN: Final = frozenset({b"subagent", b"workflow", b"auxiliary"})
"""Request classes of Claude Code that are `standard` at most.

`main` keeps the caller's class, and so does `compaction`, because the conversation cannot go on before it. `auxiliary`
is not `batch`: it includes the classifier that decides whether a tool may run, and the main turn waits for that.
"""


class RequestOrigin(NamedTuple):
    """Where a request comes from, for the queue.

    Attributes:
        caller: the caller, in the class of this request.
        session: the caller's session; empty for requests that name none, which are one session together.
        agent: the agent of that session; empty for the main one.
    """

    caller: Caller
    session: str = ""
    agent: str = ""


def origin_of(caller: Caller, fields: Fields) -> RequestOrigin:
    """The origin of a caller's request with these header fields.

    Our own fields go before those of Claude Code. A field can lower the class of a request; it cannot raise it above
    the caller's.

    Raises:
        ConfigurationError: `x-tidegate-priority` is none of the classes.
    """
    session = fields.get(_SESSION) or fields.get(_CLAUDE_SESSION, b"")
    agent = fields.get(_CLAUDE_AGENT, b"")
    if _PRIORITY in fields:
        caller = with_priority(caller, fields)
    elif _CLAUDE_CLASS in fields:
        caller = _with_claude_class(caller, fields[_CLAUDE_CLASS], of_subagent=bool(agent))
    return RequestOrigin(caller, _bounded(session), _bounded(agent))


def with_priority(caller: Caller, fields: Fields) -> Caller:
    """The caller, in the class that `x-tidegate-priority` asks for where that is lower than its own.

    Raises:
        ConfigurationError: `x-tidegate-priority` is none of the classes.
    """
    given = fields.get(_PRIORITY)
    if given is None:
        return caller
    priority = _PRIORITIES.get(given.strip().lower())
    if priority is None:
        raise ConfigurationError(TIDEGATE_PRIORITY, given.decode("latin-1"), ", ".join(Priority))
    return _lowered(caller, priority)


def _with_claude_class(caller: Caller, given: bytes, *, of_subagent: bool) -> Caller:
    """An unknown class changes nothing: the protocol is not ours, and may grow."""
    is_beside = given in _BESIDE_THE_MAIN_TURN or (of_subagent and given == b"compaction")
    return _lowered(caller, Priority.STANDARD) if is_beside else caller


@lru_cache(maxsize=1_024)  # a caller's requests ask for the same again and again
def _lowered(caller: Caller, priority: Priority) -> Caller:
    return caller.lowered(priority)


def _bounded(name: bytes) -> str:
    """An id as text of at most 64 plain characters; a hash stands for any other."""
    if not name:
        return ""
    if _PLAIN_ID.fullmatch(name):
        return name.decode("ascii")
    return hashlib.sha256(name).hexdigest()[:_HASH_DIGITS]
