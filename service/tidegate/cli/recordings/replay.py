"""`tidegate replay`: folds a recording under other settings, and prints both results."""

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from tidegate.core.domain.errors import ConfigurationError, UnreadableState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tidegate.cli.recordings.replay_table import Compared
    from tidegate.stores.recording.attempts import Attempts
    from tidegate.stores.recording.original import Original, Stretch

__all__ = ["replay"]

_MOST_CALLERS: Final = 20
_OTHERS: Final = "(others)"


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--set",
    "given",
    multiple=True,
    metavar="KEY=VALUE",
    help="A setting that is different, such as pools.sonnet-5-5.requests_per_minute=500; repeatable.",
)
@click.option("--keep-429s", is_flag=True, help="Keep the 429s of the recording; with --set only.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def replay(file: Path, given: tuple[str, ...], *, keep_429s: bool, as_json: bool) -> None:
    """Fold the recording FILE under other settings. Print waits, refusals and use beside the original's.

    Without --set, the replay has exactly the grants, refusals and waits of the original.

    With --set, attempts are admitted at other times, and the replay has to assume what then happens. Calls arrive when
    they did; a call that came after the end of another one of its session comes as long after that end. A response
    takes as long after its admission, and uses as much. A call without a response, because it was refused, takes the
    mean time of its caller, and uses what was estimated. A retry comes as long after the failure. A call is refused
    when its deadline passes. 429s of the upstream are left out, because other calls would get them: such a call gets
    the response of its retry at once. The replay makes no 429s. What the upstream reported to be
    left is corrected by the difference in use. A limit above the one that it has reported counts as granted by it.

    \b
    Keys:
      pools.NAME.requests_per_minute, input_tokens_per_minute, output_tokens_per_minute, burst_seconds
      pool_requests_per_minute and so on: of each Messages pool without limits of its own
      callers.NAME.weight, priority, max_concurrent, requests_per_minute and so on; empty: no limit
      queue_requests, queue_requests_per_caller, queue_tokens, queue_tokens_per_caller
    """  # noqa: D301 - \b keeps the lines that follow for click
    from tidegate.cli.recordings.replay_settings import changed_settings  # noqa: PLC0415 - for this command only
    from tidegate.stores.recording.original import fold_again, fold_original  # noqa: PLC0415 - for this command only
    from tidegate.stores.recording.replay import replay as replayed  # noqa: PLC0415 - for this command only

    found, notes = _read(file)
    originals = [fold_original(stretch) for stretch in found]
    demands = [each.demand for original in originals for each in original.attempts.all.values()]
    callers = Counter(demand.caller.name for demand in demands)
    settings = changed_settings(given, {demand.pool for demand in demands}, callers)
    results = [
        replayed(original, settings, keep_429s=keep_429s) if given else fold_again(original) for original in originals
    ]
    kept = {name for name, _ in callers.most_common(_MOST_CALLERS)}
    by_pool = _compared(originals, results, None)
    by_caller = _compared(originals, results, kept)
    seconds = sum(original.until_ns - original.since_ns for original in originals) / 1e9
    _print(by_pool, by_caller, seconds, notes, as_json=as_json)


def _read(file: Path) -> "tuple[list[Stretch], list[str]]":
    """The stretches of a recording, and what is wrong with it.

    Raises:
        ConfigurationError: the file cannot be read.
        UnreadableState: it is no recording, or it has nothing to replay.
    """
    from tidegate.stores.recording.original import stretches  # noqa: PLC0415 - for this command only
    from tidegate.stores.recording.recording_file import RecordingReader  # noqa: PLC0415 - for this command only

    try:
        with file.open("rb") as opened:
            reader = RecordingReader(opened)
            found = [stretch for stretch in stretches(reader) if stretch.entries]
    except OSError as error:
        raise ConfigurationError("FILE", str(file), f"a readable file ({error.strerror})") from None
    except UnreadableState as error:
        raise UnreadableState(f"{file}: {error}") from None
    notes = [] if reader.damage is None else [reader.damage]
    notes += [f"a part is missing: {each.gap}; what was open then is not compared" for each in found if each.gap]
    if not found:
        raise UnreadableState(": ".join((str(file), *notes, "there is nothing to replay")))
    return found, notes


def _compared(originals: "Sequence[Original]", results: "Sequence[Attempts]", callers: set[str] | None) -> "Compared":
    """The figures of pools; with `callers`, those of these callers and of all others together."""
    from tidegate.stores.recording.figures import Figures, Folding, figures_by  # noqa: PLC0415 - for this command only

    def group(pool: str, caller: str) -> str:
        if callers is None:
            return pool
        return caller if caller in callers else _OTHERS

    before, after = (
        figures_by(
            [Folding(each, original.since_ns) for each, original in zip(attempts, originals, strict=True)],
            group,
            with_quota=callers is None,
        )
        for attempts in ([original.attempts for original in originals], results)
    )
    return {name: (before.get(name, Figures()), after.get(name, Figures())) for name in {**before, **after}}


def _print(by_pool: "Compared", by_caller: "Compared", seconds: float, notes: list[str], *, as_json: bool) -> None:
    from tidegate.cli.recordings.replay_table import as_json as in_json  # noqa: PLC0415 - for this command only
    from tidegate.cli.recordings.replay_table import table  # noqa: PLC0415 - for this command only

    for note in notes:
        click.echo(f"tidegate: warning: {note}", err=True)
    if as_json:
        found = {"seconds": seconds, "notes": notes, "pools": in_json(by_pool), "callers": in_json(by_caller)}
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    click.echo(f"{seconds:,.1f} s with a leader")
    for lines in (table("pool", by_pool), table("caller", by_caller)):
        click.echo("\n".join(["", *lines]))
