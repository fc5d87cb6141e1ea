"""Composes a workflow document (CNCF Serverless Workflow DSL 1.0.0) from the words of a request.

Simple rules, no language model: each clause becomes one task, and certain phrases become other constructs of the DSL.
Different requests give different documents. README.md of this package lists the phrases.
"""

import re
from typing import Any, Final

from claude_simulator.answers.clauses import camel_case, clauses, label, request_text

Task = dict[str, Any]

_ERRORS: Final = "https://serverlessworkflow.io/spec/1.0.0/errors"
_COUNTS: Final = {"once": 1, "one": 1, "twice": 2, "two": 2, "three": 3, "thrice": 3, "four": 4, "five": 5, "ten": 10}
_NUMBER: Final = rf"(\d{{1,4}}|{'|'.join(_COUNTS)}|an?)"
_UNIT: Final = r"(millisecond|second|minute|hour|day)s?"

_OPENING: Final = r"^(?:when(?:ever)?|once|after|as soon as|on)"
_HAPPENS: Final = (
    r"(arrives?|comes? in|happens|occurs|(?:is|are|gets?) (?:received|placed|created|submitted|uploaded|updated))"
)
_EVENT: Final = re.compile(rf"{_OPENING}\s+(.+?)\s+{_HAPPENS}\b(.*)|{_OPENING}\s+(.+)", re.IGNORECASE | re.DOTALL)
_EVERY: Final = re.compile(rf"^every\s+(?:{_NUMBER}\s+)?{_UNIT}\b(.*)|^(hourly|daily)\b(.*)", re.IGNORECASE)
_RETRY: Final = re.compile(rf"^retry(?:ing)?\b.*?(?:\b{_NUMBER}\b|$)", re.IGNORECASE)
_WAIT: Final = re.compile(rf"^(?:wait|pause|sleep)\s+(?:for\s+)?{_NUMBER}\s+{_UNIT}", re.IGNORECASE)
_LISTEN: Final = re.compile(r"^(?:wait for|await|listen (?:for|to))\s+(.+)", re.IGNORECASE)
_IF: Final = re.compile(r"^if\s+(.+)", re.IGNORECASE)
_OTHERWISE: Final = re.compile(r"^(?:otherwise|or else|else|if not)\s*(.*)", re.IGNORECASE)
_EACH: Final = re.compile(r"^for\s+(?:each|every)\s+(\w+)(?:\s+(?:in|of|on)\b.*|\s+(.*))?$", re.IGNORECASE)
_PARALLEL: Final = re.compile(r"\s*\bin parallel\b[:\s]*", re.IGNORECASE)
_EMIT: Final = re.compile(r"^(?:emit|publish|announce)\s+(.+)", re.IGNORECASE)
_RAISE: Final = re.compile(r"^(?:fail|raise|abort)\b(.*)", re.IGNORECASE)
_SET: Final = re.compile(r"^(?:set|compute|calculate|remember)\s+(.+)", re.IGNORECASE)
_WITHIN: Final = re.compile(rf"\s*\bwithin\s+{_NUMBER}\s+{_UNIT}\b", re.IGNORECASE)
_READS: Final = re.compile(r"^(?:check|fetch|find|get|load|look|query|read|validate|verify)\b", re.IGNORECASE)


def workflow_document(message: str) -> dict[str, Any]:
    """Composes a valid document for a request in any language. It always has a task."""
    text = request_text(message)
    steps = _Steps()
    for clause in clauses(text) or ["do nothing"]:
        steps.add(clause)
    one_line = " ".join(text.split())
    return {
        "document": {
            "dsl": "1.0.0",
            "namespace": "simulated",
            "name": label(text, fallback="workflow"),
            "version": "0.1.0",
            "title": one_line[:80],
            "summary": f"Simulated answer for: {one_line[:300]}",
        },
        **({"schedule": steps.schedule} if steps.schedule else {}),
        "do": steps.tasks(),
    }


def broken_workflow_document(message: str) -> dict[str, Any]:
    """Composes a document with three errors: an invalid name, a call without arguments, an unknown `then`."""
    document = workflow_document(message)
    document["document"]["name"] = "Not A Label!"
    document["do"] = [{"broken": {"call": "http", "then": "nowhere"}}, *document["do"]]
    return document


class _Steps:
    """The tasks so far, and the pending condition or loop for the next one."""

    def __init__(self) -> None:
        self.schedule: dict[str, Any] = {}
        self._tasks: list[tuple[str, Task]] = []
        self._names: set[str] = set()
        self._condition = ""
        self._last_condition = ""
        self._each = ""

    def tasks(self) -> list[dict[str, Task]]:
        """The task list. If there is no task, as for a request with only an event, one is added."""
        if not self._tasks:
            self._append("finish", {"set": {"finished": True}})
        return [{name: task} for name, task in self._tasks]

    def add(self, clause: str) -> None:
        """Turns a clause into a task, or into a schedule, condition, loop or retry for another task."""
        rules = (
            (_RETRY, self._retry),
            (_OTHERWISE, self._otherwise),
            (_IF, self._if),
            (_EACH, self._for_each),
        )
        if not self._tasks and not self.schedule and self._set_schedule(clause):
            return
        for pattern, apply in rules:
            match = pattern.match(clause)
            if match:
                apply(match)
                return
        self._append_task(clause)

    def _set_schedule(self, clause: str) -> bool:
        if every := _EVERY.match(clause):
            amount, unit, rest, adverb, adverb_rest = every.groups()
            period = {"hourly": {"hours": 1}, "daily": {"days": 1}}.get((adverb or "").lower())
            self.schedule = {"every": period or _duration(amount or "1", unit)}
            rest = rest or adverb_rest
        elif event := _EVENT.match(clause):
            subject, verb, rest, whole = event.groups()
            self.schedule = {"on": {"one": {"with": {"type": _event_type(subject or whole, verb or "happens")}}}}
        else:
            return False
        if rest and rest.strip():
            self.add(rest.strip())
        return True

    def _retry(self, match: re.Match[str]) -> None:
        policy = {
            "delay": {"seconds": 1},
            "backoff": {"exponential": {}},
            "limit": {"attempt": {"count": _count(match.group(1) or "three")}},
        }
        if not self._tasks:
            self._append("firstAttempt", _call("first attempt"))
        name, task = self._tasks.pop()
        catch = {"errors": {"with": {"type": f"{_ERRORS}/communication"}}, "retry": policy}
        self._append(f"{name}WithRetry", {"try": [{name: task}], "catch": catch})

    def _if(self, match: re.Match[str]) -> None:
        self._condition = self._last_condition = camel_case(match.group(1), fallback="condition")

    def _otherwise(self, match: re.Match[str]) -> None:
        self._condition = f"{self._last_condition or 'condition'} | not"
        if match.group(1):
            self._append_task(match.group(1))

    def _for_each(self, match: re.Match[str]) -> None:
        each = camel_case(match.group(1), fallback="item")
        self._each = each if each.isascii() and each.isidentifier() else "item"  # it becomes a jq variable
        if match.group(2):
            self._append_task(match.group(2))

    def _append_task(self, clause: str) -> None:
        text = _WITHIN.sub("", clause)
        name, task = self._task(text)
        if within := _WITHIN.search(clause):
            task["timeout"] = {"after": _duration(*within.groups())}
        if self._each:
            task = {"for": {"each": self._each, "in": f'${{ ."{self._each}s" }}'}, "do": [{name: task}]}
            name, self._each = f"{name}ForEach", ""
        if self._condition:
            # Quoted, because a name that starts with a digit would not parse.
            field, _, negation = self._condition.partition(" | ")
            task = {"if": f'${{ ."{field}"{" | not" if negation else ""} }}', **task}
            self._condition = ""
        self._append(name, task)

    def _task(self, text: str) -> tuple[str, Task]:
        name = camel_case(text, fallback=f"step{len(self._tasks) + 1}")
        for pattern, compose in _TASKS:
            match = pattern.match(text)
            if match:
                return name, compose(match)
        failure = _RAISE.match(text)
        if failure and self._condition:  # without a condition, later tasks would be unreachable
            title = failure.group(1).strip() or text
            return name, {"raise": {"error": {"type": f"{_ERRORS}/runtime", "status": 500, "title": title}}}
        return name, _call(text)

    def _append(self, name: str, task: Task) -> None:
        unique, number = name, 2
        while unique in self._names:
            unique, number = f"{name}{number}", number + 1
        self._names.add(unique)
        self._tasks.append((unique, task))


def _call(text: str) -> Task:
    endpoint = f"https://api.example.com/{label(text, fallback='step')}"
    if _READS.match(text):
        return {"call": "http", "with": {"method": "get", "endpoint": endpoint}}
    return {"call": "http", "with": {"method": "post", "endpoint": endpoint, "body": "${ . }"}}


def _fork(match: re.Match[str]) -> Task:
    parts = re.split(r"\s+and\s+|\s*/\s*", _PARALLEL.sub(" ", match.group()).strip())
    branches = {camel_case(part, fallback=f"branch{number}"): _call(part) for number, part in enumerate(parts, 1)}
    return {"fork": {"compete": False, "branches": [{name: task} for name, task in branches.items()]}}


def _wait(match: re.Match[str]) -> Task:
    return {"wait": _duration(match.group(1), match.group(2))}


def _listen(match: re.Match[str]) -> Task:
    return {"listen": {"to": {"one": {"with": {"type": _event_type(match.group(1), "happens")}}}}}


def _emit(match: re.Match[str]) -> Task:
    event = {"source": "https://example.com/simulated", "type": _event_type(match.group(1), "happens")}
    return {"emit": {"event": {"with": event}}}


def _set(match: re.Match[str]) -> Task:
    return {"set": {camel_case(match.group(1), fallback="value"): "${ . }"}}


_TASKS: Final = (
    (re.compile(r".*\bin parallel\b.*", re.IGNORECASE), _fork),
    (_WAIT, _wait),
    (_LISTEN, _listen),
    (_EMIT, _emit),
    (_SET, _set),
)
"""Phrases and the tasks they become; the first match wins, and anything else becomes a call."""


def _event_type(subject: str, verb: str) -> str:
    stem = re.sub(r"^(?:is|are|gets?)\s+", "", verb.lower())
    past = {"arrive": "arrived", "arrives": "arrived"}.get(stem, stem if stem.endswith("ed") else "happened")
    return f"com.example.{label(subject, fallback='event')}.{past}"


def _duration(amount: str, unit: str) -> dict[str, int]:
    return {f"{unit.lower()}s": _count(amount)}


def _count(word: str) -> int:
    return int(word) if word.isdecimal() else _COUNTS.get(word.lower(), 1)
