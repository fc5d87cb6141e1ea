"""One line per call, every logger in one form, and nothing in it that was being worked on."""

import asyncio
import contextvars
import io
import json
import logging
import re
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from structlog.contextvars import bound_contextvars

from support.traces import Traces
from support.virtual_time import VirtualClock
from tidegate.core.domain.caller import Caller
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.events import HeadRefused, RequestFinished
from tidegate.core.domain.usage import Usage
from tidegate.core.ports.observer import ScopeKind
from tidegate.observe.logging.log_format import REQUEST_ID
from tidegate.observe.logging.request_log import LogFormat, RequestLog, open_logs

CALL = RequestFinished(
    route="/v1/messages",
    pool="sonnet-5-5",
    caller=Caller("key-of-somebody", label="team-a"),
    outcome="ok",
    duration_ns=1_234_567_890,
    request_id="tg_1",
    model="claude-sonnet-5-5",
    status=200,
    queue_wait_ns=250_400_000,
    attempts=2,
    usage=Usage(7, 3, 2, 1, 1),
    upstream_request_id="req_9",
    exemplar={"trace_id": "0af7651916cd43dd8448eb211c80319c", "span_id": "b7ad6b7169203331"},
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def opened(level: str = "info", form: LogFormat = "json") -> tuple[io.StringIO, RequestLog]:
    stream = io.StringIO()
    return stream, open_logs(level, form, stream)


def lines(stream: io.StringIO) -> list[Any]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_call_is_one_line() -> None:
    stream, log = opened()

    log.log(CALL)

    (line,) = lines(stream)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?\+00:00", line.pop("timestamp"))
    assert list(line.items()) == [
        ("level", "info"),
        ("logger", "tidegate.requests"),
        ("event", "request"),
        ("route", "/v1/messages"),
        ("caller", "team-a"),
        ("pool", "sonnet-5-5"),
        ("model", "claude-sonnet-5-5"),
        ("status", 200),
        ("outcome", "ok"),
        ("queue_ms", 250.4),
        ("attempts", 2),
        ("duration_ms", 1234.568),
        ("request_id", "tg_1"),
        ("upstream_request_id", "req_9"),
        ("input_tokens", 7),
        ("output_tokens", 3),
        ("cache_read_tokens", 2),
        ("cache_creation_tokens", 1),
        ("trace_id", "0af7651916cd43dd8448eb211c80319c"),
        ("span_id", "b7ad6b7169203331"),
    ]


def test_unknown_fields_are_omitted() -> None:
    stream, log = opened()

    log.log(RequestFinished("/v1/messages", "", Caller("a"), "refused", 0, status=429, cause=Cause.QUEUE_FULL))

    (line,) = lines(stream)
    assert line["cause"] == "queue_full"
    assert not {"input_tokens", "trace_id", "upstream_request_id"} & line.keys()


def test_a_refused_head_has_a_line() -> None:
    stream, log = opened()

    log.log(HeadRefused(431, "192.0.2.7", "tg_1"))

    (line,) = lines(stream)
    assert line.pop("timestamp")
    assert list(line.items()) == [
        ("level", "info"),
        ("logger", "tidegate.requests"),
        ("event", "head refused"),
        ("status", 431),
        ("client", "192.0.2.7"),
        ("request_id", "tg_1"),
    ]


def test_a_client_cannot_write_lines_or_fill_the_disk() -> None:
    stream, log = opened()

    log.log(RequestFinished('/api/x\n{"forged": 1}', "p" * 1000, Caller("a"), "ok", 0, model="\x1b[31m" + "m" * 1000))

    (line,) = lines(stream)
    assert "forged" not in line
    assert len(stream.getvalue()) < 700


def test_a_console_shows_control_characters_quoted() -> None:
    stream, log = opened(form="console")

    log.log(RequestFinished("/api/x", "p", Caller("a"), "ok", 0, model="\x1b[31mred\nforged"))
    logging.getLogger("tidegate.x").warning("told \x1b[31mred\nforged")

    assert len(stream.getvalue().splitlines()) == 2
    assert "\x1b" not in stream.getvalue()


@pytest.mark.parametrize(("no_color", "is_colored"), [("", True), ("1", False)])
def test_a_terminal_has_colors_unless_the_environment_forbids_them(
    no_color: str, *, is_colored: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", no_color)
    stream = Terminal()
    open_logs("info", "auto", stream)
    logging.getLogger("tidegate.x").warning("told")
    assert ("\x1b" in stream.getvalue()) is is_colored


def test_a_console_has_the_fields_of_a_call_in_the_order_of_its_line() -> None:
    stream, log = opened(form="console")
    log.log(RequestFinished("/api/x", "p", Caller("a"), "ok", 0, status=200))
    shown = re.findall(r" (\w+)=", stream.getvalue())
    assert shown[:6] == ["route", "caller", "pool", "model", "status", "outcome"]


@pytest.mark.parametrize("level", ["warning", "error"])
def test_a_level_above_info_leaves_calls_out(level: str) -> None:
    stream, log = opened(level)
    log.log(CALL)
    assert not stream.getvalue()


def test_the_level_can_change_while_it_runs() -> None:
    stream, log = opened("error")
    for level in ("debug", "warning", "info"):
        log.set_level(level)
        logging.getLogger("tidegate.x").debug("told")
        log.log(CALL)
    assert [line["event"] for line in lines(stream)] == ["told", "request", "request"]


def test_a_line_that_cannot_be_written_is_dropped() -> None:
    stream, log = opened()
    stream.close()

    log.log(CALL)


@pytest.mark.parametrize("name", ["services.dsl_generator.rate_limiter", "services.dsl_generator.ai_client"])
def test_the_older_names_speak_in_the_same_form_when_asked_to(name: str) -> None:
    stream, _ = opened("debug")

    with bound_contextvars(request_id="tg_7"):
        logging.getLogger(name).debug("attempt %d: asking %s", 1, "claude-sonnet-5-5")

    (line,) = lines(stream)
    del line["timestamp"]
    assert line == {
        "level": "debug",
        "logger": name,
        "event": "attempt 1: asking claude-sonnet-5-5",
        "request_id": "tg_7",
    }


def test_a_record_inside_of_a_span_carries_its_ids() -> None:
    stream, _ = opened()
    traces = Traces(VirtualClock())

    with traces.tracing.scope(ScopeKind.GENERATE, {}) as scope:
        logging.getLogger("tidegate").warning("careful")

    (line,) = lines(stream)
    assert {name: line[name] for name in ("trace_id", "span_id")} == scope.exemplar()


def test_other_peoples_loggers_stay_at_warning() -> None:
    stream, _ = opened("debug")

    for level in (logging.DEBUG, logging.INFO, logging.WARNING):
        logging.getLogger("anthropic").log(level, "Request options: everything")

    assert [line["level"] for line in lines(stream)] == ["warning"]


def test_an_error_is_logged_without_its_text() -> None:
    stream, _ = opened()

    def fail() -> None:
        try:
            int("a secret prompt")
        except ValueError as error:
            raise KeyError("a secret key") from error

    try:
        fail()
    except KeyError:
        logging.getLogger("tidegate.api.events").exception("generation failed, request %s", "tg_1")

    (line,) = lines(stream)
    assert line["event"] == "generation failed, request tg_1"
    assert line["error"] == "KeyError, from ValueError"
    assert any(frame.endswith(" fail") and f"{Path(__file__).name}:" in frame for frame in line["frames"])
    assert "secret" not in stream.getvalue()


def test_an_error_of_the_system_is_logged_with_its_reason() -> None:
    stream, _ = opened()

    try:
        raise ConnectionRefusedError(111, "Connection refused")
    except OSError:
        logging.getLogger("tidegate").exception("it broke")

    assert lines(stream)[0]["error"] == "ConnectionRefusedError: [Errno 111] Connection refused"


def test_auto_is_for_people_on_a_terminal_and_for_machines_elsewhere() -> None:
    terminal, pipe = Terminal(), io.StringIO()
    for stream in (terminal, pipe):
        log = open_logs("info", "auto", stream)
        log.log(CALL)

    assert json.loads(pipe.getvalue())["event"] == "request"
    assert not terminal.getvalue().startswith("{")
    assert "request" in terminal.getvalue()


def test_lines_wait_a_moment_to_be_written_together() -> None:
    stream, log = opened()

    async def main() -> None:
        log.log(CALL)
        log.log(CALL)
        assert not stream.getvalue()
        await asyncio.sleep(0.05)
        assert len(lines(stream)) == 2
        log.log(CALL)
        log.flush()
        assert len(lines(stream)) == 3

    asyncio.run(main())


def test_a_line_has_the_time_at_which_its_call_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    stream, log = opened()

    async def main() -> None:
        for unix_seconds in (1_790_000_000, 1_790_000_060):
            monkeypatch.setattr(
                "tidegate.observe.logging.request_log.time.time_ns",
                lambda now=unix_seconds: now * 1_000_000_000 + 5_000,
            )
            log.log(CALL)
        log.log(HeadRefused(400))
        log.flush()

    asyncio.run(main())
    assert [line["timestamp"] for line in lines(stream)] == [
        "2026-09-21T14:13:20.000005+00:00",
        "2026-09-21T14:14:20.000005+00:00",
        "2026-09-21T14:14:20.000005+00:00",
    ]


def test_not_many_lines_wait_together() -> None:
    stream, log = opened()

    async def main() -> None:
        for _ in range(200):
            log.log(CALL)
        assert 100 <= len(lines(stream)) <= 200

    asyncio.run(main())


def test_a_record_has_the_id_of_the_request_that_is_worked_on() -> None:
    stream, _ = opened()
    context = contextvars.copy_context()
    context.run(REQUEST_ID.set, "tg_8")
    context.run(logging.getLogger("tidegate").warning, "odd")
    logging.getLogger("tidegate").warning("even")

    assert [line.get("request_id") for line in lines(stream)] == ["tg_8", None]


def test_values_that_only_python_can_encode_are_logged() -> None:
    stream, log = opened()
    log.log(replace(CALL, model="modèle\u2028", duration_ns=10**30))

    (line,) = lines(stream)
    assert (line["model"], line["duration_ms"]) == ("modèle\u2028", 1e24)
    assert stream.getvalue().isascii()


@pytest.mark.parametrize("model", ["modèle", "\ud800"])
def test_the_line_of_a_call_is_ascii_for_any_name_of_a_model(model: str) -> None:
    stream, log = opened()

    log.log(replace(CALL, model=model))

    assert stream.getvalue().isascii()
    (line,) = lines(stream)
    assert line["model"] == model
    assert list(line)[-2:] == ["trace_id", "span_id"]
