"""`tidegate record` and `tidegate replay`: what they print and refuse, without a server."""

import json
from pathlib import Path

import pytest

from support.command_line import run
from support.recordings import HandMade, limited
from tidegate.cli.recordings.replay_settings import changed_settings
from tidegate.core.domain.caller import Priority
from tidegate.core.domain.dimension import Dimension
from tidegate.core.domain.errors import ConfigurationError, UnreadableState
from tidegate.stores.recording.changed_settings import ChangedLimits, ChangedSettings
from tidegate.stores.recording.recording_file import Gap, RecordingWriter

RATES = {Dimension.REQUESTS: 9.0, Dimension.INPUT_TOKENS: None}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Three calls at once for one request per second; the last one is not patient."""
    log = HandMade({"p": limited(60)})
    for number, patience_s in enumerate((None, None, 1.5)):
        log.end(2 + number, log.ask(0, "web" if number else "nightly", patience_s=patience_s))
    log.write(tmp_path / "file", 5)
    return tmp_path / "file"


def test_the_table_shows_both_results(file: Path) -> None:
    result = run("replay", str(file), "--set", "pools.p.requests_per_minute=600")
    assert result.exit_code == 0, result.output
    # A hundredth of 1 s is left to the third one, whose bucket has room for ten.
    assert [" ".join(line.split()) for line in result.output.splitlines()] == [
        "5.0 s with a leader",
        "",
        "pool calls p50 p90 p99 left waiting 429s requests input output refused",
        "p original 3 0.50 s 0.90 s 0.99 s 0 0 0 2 (40%) 20 10 deadline 1",
        "replay 3 0.10 s 0.18 s 0.20 s 0 0 0 3 (6%) 20 10 -",
        "",
        "caller calls p50 p90 p99 left waiting 429s requests input output refused",
        "nightly original 1 0.00 s 0.00 s 0.00 s 0 0 0 1 10 5 -",
        "replay 1 0.00 s 0.00 s 0.00 s 0 0 0 1 10 5 -",
        "web original 2 1.00 s 1.00 s 1.00 s 0 0 0 1 10 5 deadline 1",
        "replay 2 0.15 s 0.19 s 0.20 s 0 0 0 2 10 5 -",
    ]


def test_without_other_settings_both_results_are_equal(file: Path) -> None:
    result = run("replay", str(file), "--json")
    found = json.loads(result.stdout)
    assert (found["seconds"], found["notes"]) == (5, [])
    for each in (*found["pools"].values(), *found["callers"].values()):
        assert each["original"] == each["replay"]
    assert found["pools"]["p"]["original"] == {
        "calls": 3,
        "admitted": 2,
        "wait_seconds": {"p50": 0.5, "p90": 0.9, "p99": 0.99},
        "refused": {"deadline": 1},
        "left": 0,
        "waiting": 0,
        "rate_limited": 0,
        "used": {"requests": 2, "input_tokens": 20, "output_tokens": 10},
        "used_share": {"requests": 0.4},
    }


def test_callers_beyond_the_first_twenty_are_shown_together(tmp_path: Path) -> None:
    log = HandMade({"p": limited(60)})
    for number in range(22):
        log.ask(0, f"caller {number}")
    log.write(tmp_path / "file", 1)
    found = json.loads(run("replay", str(tmp_path / "file"), "--json").stdout)["callers"]
    assert len(found) == 21
    assert found["(others)"]["original"]["calls"] == 2
    assert found["(others)"]["original"]["wait_seconds"] is None
    assert "  -  " in run("replay", str(tmp_path / "file")).stdout


def test_a_cut_recording_is_replayed_with_a_warning(file: Path) -> None:
    content = file.read_bytes()
    with file.open("ab") as opened:
        RecordingWriter(opened).write(Gap("lost"))
    head = b"tidegate recording 1\n"
    assert file.read_bytes()[len(content) :].startswith(head)
    file.write_bytes(content + file.read_bytes()[len(content) + len(head) : -1])
    result = run("replay", str(file))
    assert result.exit_code == 0
    assert result.stderr == (
        f"tidegate: warning: the recording is cut at byte {len(content):,}: it is read up to there\n"
    )


def test_a_gap_is_a_warning(file: Path) -> None:
    content = file.read_bytes()
    with file.open("wb") as opened:
        RecordingWriter(opened).write(Gap("entries were removed"))
    gap = file.read_bytes().partition(b"\n")[2]
    file.write_bytes(content + gap)
    assert "a part is missing: entries were removed" in run("replay", str(file)).stderr


def test_a_file_without_entries_or_of_another_kind_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"PK")
    with pytest.raises(UnreadableState, match="file: the file is no recording of Tidegate"):
        run("replay", str(file), catch_exceptions=False)
    file.write_bytes(b"tidegate recording 1\n\0")
    with pytest.raises(UnreadableState, match=r"cut at byte 21.*there is nothing to replay"):
        run("replay", str(file), catch_exceptions=False)
    with pytest.raises(ConfigurationError, match=r"FILE: got .*, allowed is a readable file"):
        run("replay", str(tmp_path / "nowhere"), catch_exceptions=False)


def test_a_replay_may_change_limits_burst_queue_and_callers() -> None:
    given = [
        "pools.p.requests_per_minute=9",
        "pools.p.input_tokens_per_minute=auto",
        "pools.q.burst_seconds=auto",
        "pool_output_tokens_per_minute=70",
        "pool_burst_seconds=3",
        "queue_requests=5",
        "queue_tokens_per_caller=6",
        "callers.a.b.weight=2.5",
        "callers.a.b.priority=batch",
        "callers.web.max_concurrent=3",
        "callers.web.requests_per_minute=",
    ]
    assert changed_settings(given, {"p", "q"}, {"a.b", "web"}) == ChangedSettings(
        {"p": ChangedLimits(RATES), "q": ChangedLimits({}, 10.0)},
        ChangedLimits({Dimension.OUTPUT_TOKENS: 70.0}, 3.0),
        {"requests": 5, "tokens_per_caller": 6},
        {
            "a.b": {"weight": 2.5, "priority": Priority.BATCH},
            "web": {"max_concurrent": 3, "requests_per_minute": None},
        },
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("pools", "--set: got 'pools', allowed is KEY=VALUE"),
        (
            "pools.p.requests_per_minute=no",
            "--set pools.p.requests_per_minute: got 'no', allowed is a number, 0.001 to",
        ),
        ("pools.p.requests_per_minute=0", "got '0', allowed is a number, 0.001 to 1,000,000,000, per minute, or auto"),
        ("pools.p.request_per_minute=1", "did you mean pools.NAME.requests_per_minute?"),
        ("pools.pp.burst_seconds=1", "got 'pp', allowed is a pool of the recording: p; did you mean p?"),
        ("callers.wob.weight=1", "got 'wob', allowed is a caller of the recording: web; did you mean web?"),
        ("callers.web.weight=", "--set callers.web.weight: got '', allowed is a number"),
        ("callers.web.priority=high", "allowed is interactive, standard, batch"),
        ("callers.web.key_sha256=0", "--set: got 'callers.web.key_sha256', allowed is only the keys pools.NAME."),
        ("queue_requests=0", "--set queue_requests: got '0', allowed is"),
        ("pool_requests_per_minute=1e99", "--set pool_requests_per_minute: got '1e99', allowed is a number"),
        ("port=1", "--set: got 'port', allowed is only the keys"),
    ],
)
def test_a_wrong_setting_names_the_key_the_value_and_what_is_allowed(given: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        changed_settings([given], {"p"}, {"web"})
    assert message in str(raised.value)


def test_without_a_shared_store_there_is_nothing_to_record(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TIDEGATE_STORE_URL", raising=False)
    with pytest.raises(ConfigurationError, match="TIDEGATE_STORE_URL: got 'memory://', allowed is valkey://…, because"):
        run("record", "file", catch_exceptions=False)
    assert not (tmp_path / "file").exists()
