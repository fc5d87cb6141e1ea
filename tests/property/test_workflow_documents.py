import copy
from collections.abc import Iterator
from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st

from support.hypothesis_settings import share_of_examples
from support.workflow_documents import HEADER
from tidegate.generation.dsl import check_document

_names = st.text("abcdeXYZ-_/~ é", min_size=1, max_size=6)
_scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
_json = st.recursive(
    _scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)
_yaml = st.lists(st.sampled_from(["*a", "*b", "1", "x", "~", "2025-01-31", "{1: 2}"]), min_size=1, max_size=6).map(
    lambda items: f"&a [&b {{wait: *a, set: &c [{', '.join(items)}]}}, *b, *c]"
)
_expressions = st.sampled_from([".a", "${ .a }", "$context.b", "${ .a | length > 2 }"])
_uris = st.sampled_from(["https://example.com", "https://example.com/{id}?q=1", "${ .uri }"])
_durations = st.sampled_from(["PT1S", "P1DT2H", "P2W"]) | st.dictionaries(
    st.sampled_from(["days", "hours", "minutes", "seconds", "milliseconds"]), st.integers(0, 99), min_size=1
)
_thens = st.sampled_from(["continue", "exit", "end"]) | _names
_optional = {
    "if": _expressions,
    "then": _thens,
    "timeout": _names | st.fixed_dictionaries({"after": _durations}),
    "input": st.fixed_dictionaries({}, optional={"from": _expressions | st.dictionaries(_names, _json, max_size=2)}),
    "export": st.fixed_dictionaries({"as": _expressions}),
    "metadata": st.dictionaries(_names, _json, max_size=2),
}


def _a_task(**properties: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Return a strategy of tasks; a trailing underscore, for Python's keywords, is not part of a property's name."""
    return st.fixed_dictionaries({name.rstrip("_"): value for name, value in properties.items()}, optional=_optional)


def _entry(value: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(_names, value, min_size=1, max_size=1)


def _composite(tasks: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    lists = st.lists(_entry(tasks), max_size=3)
    catch = st.fixed_dictionaries(
        {},
        optional={
            "as": _names,
            "when": _expressions,
            "do": lists,
            "retry": st.fixed_dictionaries({"delay": _durations}),
        },
    )
    loop = st.fixed_dictionaries({"in": _expressions}, optional={"each": _names, "at": _names})
    branches = st.fixed_dictionaries({"branches": lists}, optional={"compete": st.booleans()})
    return _a_task(do=lists) | _a_task(for_=loop, do=lists) | _a_task(fork=branches) | _a_task(try_=lists, catch=catch)


_event = st.fixed_dictionaries({"source": _uris, "type": st.text()}, optional={"data": _json, "extra": _json})
_error = st.fixed_dictionaries({"type": _uris, "status": st.integers()}, optional={"title": st.text()})
_case = st.fixed_dictionaries({"then": _thens}, optional={"when": _expressions})
_request = st.fixed_dictionaries({"method": st.text(), "endpoint": _uris}, optional={"body": _json})
_simple = (
    _a_task(set=st.dictionaries(_names, _json, min_size=1, max_size=3))
    | _a_task(wait=_durations)
    | _a_task(raise_=st.fixed_dictionaries({"error": _error | _names}))
    | _a_task(emit=st.fixed_dictionaries({"event": st.fixed_dictionaries({"with": _event})}))
    | _a_task(switch=st.lists(_entry(_case), min_size=1, max_size=3))
    | _a_task(call=st.just("http"), with_=_request)
    | _a_task(run=st.fixed_dictionaries({"shell": st.fixed_dictionaries({"command": st.text()})}))
)
_documents = st.fixed_dictionaries(
    {"document": st.just(HEADER), "do": st.lists(_entry(st.recursive(_simple, _composite, max_leaves=6)), max_size=4)},
    optional={"timeout": _names, "schedule": st.fixed_dictionaries({"every": _durations})},
)


@given(document=_documents)
def test_every_finding_points_into_the_document(document: dict[str, Any]) -> None:
    for finding in check_document(document):
        _resolve(document, finding.path)


@share_of_examples(0.5)
@given(document=_documents, damage=_json, data=st.data())
def test_a_damaged_document_has_findings_and_raises_nothing(
    document: dict[str, Any], damage: object, data: st.DataObject
) -> None:
    damaged = copy.deepcopy(document)
    containers = [value for value in _values(damaged) if value and isinstance(value, dict | list)]
    container = data.draw(st.sampled_from(containers))
    at = data.draw(st.sampled_from(sorted(container) if isinstance(container, dict) else range(len(container))))
    container[at] = damage

    for finding in check_document(damaged):
        _resolve(damaged, finding.path.rpartition("/")[0])  # what is missing has no value


@given(document=_json)
def test_anything_may_be_given(document: object) -> None:
    assert check_document(document)


@given(text=_yaml)
def test_any_yaml_may_be_given_with_aliases_that_repeat_or_contain_themselves(text: str) -> None:
    document = yaml.safe_load(text)

    assert check_document({"document": HEADER, "do": [{"a": document}]})
    check_document({"document": HEADER, "do": [{"a": {"set": {"x": document}}}]})


def _values(value: object) -> Iterator[Any]:
    yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _values(item)


def _resolve(document: Any, path: str) -> Any:
    for part in path.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        document = document[int(key) if isinstance(document, list) else key]
    return document
