import pytest

from tidegate.observe.exposition import Exposition, new_registry


@pytest.fixture
def exposition() -> Exposition:
    return Exposition(new_registry("1.2.3", "abc", "simulator"))


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", "text/plain; version=0.0.4; charset=utf-8"),
        ("*/*", "text/plain; version=0.0.4; charset=utf-8"),
        ("application/openmetrics-text", "application/openmetrics-text; version=1.0.0; charset=utf-8"),
        (
            "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores",
        ),
        ("application/openmetrics-text;version=new", "text/plain; version=0.0.4; charset=utf-8"),
    ],
)
def test_the_format_is_what_the_scraper_asks_for(exposition: Exposition, accept: str, content_type: str) -> None:
    given, body = exposition.render(accept)

    assert given == content_type
    assert body.endswith(b"# EOF\n") == content_type.startswith("application/openmetrics-text")


def test_says_what_runs(exposition: Exposition) -> None:
    _, body = exposition.render()

    assert b'tidegate_build_info{revision="abc",upstream="simulator",version="1.2.3"} 1.0' in body


@pytest.mark.parametrize("name", ["process_cpu_seconds_total", "python_gc_collections_total", "python_info"])
def test_the_process_its_collector_and_interpreter_are_there(exposition: Exposition, name: str) -> None:
    _, body = exposition.render()

    assert f"\n{name}".encode() in body
