"""`tidegate record`: keeps the log of the shared store in a file."""

import asyncio
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

import click

from tidegate.cli.composition.shared_store import require_client
from tidegate.core.domain.errors import ConfigurationError
from tidegate.core.ports.store_address import StoreAddress
from tidegate.settings import load_settings

if TYPE_CHECKING:
    from tidegate.stores.recording.recorder import Recorder

__all__ = ["record"]

_STORE: Final = "TIDEGATE_STORE_URL"
_TIMEOUT_SECONDS: Final = 2.0
_KEY_BYTES: Final = 32
_OWNER_ONLY: Final = 0o600


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--seconds", type=click.FloatRange(min=0, min_open=True), help="Duration; default: until Ctrl-C or SIGTERM."
)
def record(file: Path, seconds: float | None) -> None:
    """Record the log of a shared store into FILE, for `tidegate replay`.

    It needs the TIDEGATE_STORE_URL of running replicas. It only reads, so it does not slow them down.

    FILE holds the limits of pools and callers, and for each call its time, caller, pool, tokens and outcome. It holds
    no prompts, no keys and no hashes of keys. Sessions, agents and callers without a configured name get random names.
    """
    settings = load_settings().settings
    address, shown = settings.store_url.address, str(settings.store_url)
    if address is None:
        allowed = "valkey://…, because only a store that replicas share has a log; `memory://` keeps none"
        raise ConfigurationError(_STORE, shown, allowed)
    require_client(settings)
    from tidegate.cli.process.event_loop import run  # noqa: PLC0415 - for this command only
    from tidegate.observe.logging.request_log import open_logs  # noqa: PLC0415 - for this command only

    open_logs("warning", "auto")
    with _new_file(file) as opened:
        run(_record(address, shown, opened, file, seconds))


@contextmanager
def _new_file(file: Path) -> Iterator[IO[bytes]]:
    """The file, open for writing. Only its owner may read it. It is removed if nothing can be recorded.

    Raises:
        ConfigurationError: it exists, or it cannot be written.
    """
    try:
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY), "wb") as opened:
            try:
                yield opened
            except ConfigurationError:
                file.unlink()
                raise
    except FileExistsError:
        raise ConfigurationError("FILE", str(file), "the path of a file that does not exist yet") from None
    except OSError as error:
        raise ConfigurationError("FILE", str(file), f"a path that can be written ({error.strerror})") from None


async def _record(address: StoreAddress, shown: str, opened: IO[bytes], file: Path, seconds: float | None) -> None:
    from tidegate.cli.process.event_loop import on_stop_signal  # noqa: PLC0415 - for this command only
    from tidegate.stores.recording.pseudonyms import Pseudonyms  # noqa: PLC0415 - for this command only
    from tidegate.stores.recording.recorder import Recorder  # noqa: PLC0415 - for this command only
    from tidegate.stores.recording.recording_file import RecordingWriter  # noqa: PLC0415 - for this command only
    from tidegate.stores.valkey.shared_log import StoreLost  # noqa: PLC0415 - for this command only
    from tidegate.stores.valkey.valkey_log import ValkeyLog  # noqa: PLC0415 - its client is an extra

    log, stopped, began_at = ValkeyLog(address, _TIMEOUT_SECONDS), on_stop_signal(lambda: None), time.monotonic()
    writer = RecordingWriter(opened)
    recorder = Recorder(log, writer.write, Pseudonyms(secrets.token_bytes(_KEY_BYTES)))
    try:
        await log.last()
        recording = asyncio.create_task(recorder.run())
        stopped.add_done_callback(lambda _: recording.cancel())
        await asyncio.wait([recording], timeout=seconds)
        recording.cancel()
        await asyncio.wait([recording])
        if not recording.cancelled():
            recording.result()  # raises the error that has ended it
    except StoreLost as error:
        raise ConfigurationError(_STORE, shown, f"the URL of a server that answers ({error})") from None
    finally:
        await log.close()
    _report(recorder, file, time.monotonic() - began_at, writer.written_bytes)


def _report(recorder: "Recorder", file: Path, seconds: float, written_bytes: int) -> None:
    if not recorder.entries:
        click.echo("tidegate: note: nothing was recorded, because no replica has led in this time", err=True)
    for reason in recorder.gaps:
        click.echo(f"tidegate: warning: a part is missing: {reason}; the recording goes on after it", err=True)
    click.echo(f"{file}: {seconds:,.0f} s, {recorder.entries:,} entries, {written_bytes:,} bytes")
