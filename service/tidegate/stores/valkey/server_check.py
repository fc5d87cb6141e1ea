"""Checks that a server can hold the shared log, for `tidegate check` and for the start of the service."""

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from valkey.exceptions import (
    AuthenticationError,
    NoPermissionError,
    NoScriptError,
    ResponseError,
    ValkeyClusterException,
    ValkeyError,
)

from tidegate.core.ports.store_address import StoreAddress
from tidegate.stores.valkey.connection import connect

__all__ = ["server_faults"]

_TIMEOUT_SECONDS: Final = 3.0
_LEAST_VALKEY: Final = (7, 2)
_LEAST_REDIS: Final = (7, 0)


async def server_faults(address: StoreAddress) -> tuple[str, ...]:
    """The faults of the server, a sentence each; empty if there are none. Writes only keys that it removes again."""
    client = connect(address, _TIMEOUT_SECONDS)
    try:
        tagged = f"{{{address.prefix}}}"
        try:
            info = await _info(client, address, tagged)
        except NoPermissionError:
            info = {}
        if mode_faults := _mode_faults(info, address):
            return mode_faults
        return *_version_faults(info), *_memory_faults(info), *await _permission_faults(client, tagged)
    except AuthenticationError as error:
        return (f"the user or the password is refused: {error}",)
    except (ValkeyError, ValkeyClusterException, OSError) as error:
        return (f"cannot be reached: {error!s}",)
    finally:
        await client.aclose()


async def _info(client: Any, address: StoreAddress, key: str) -> Mapping[str, Any]:
    if address.kind != "cluster":
        return dict(await client.info())
    await client.initialize()
    return dict(await client.execute_command("INFO", target_nodes=client.get_node_from_key(key)))


def _version_faults(info: Mapping[str, Any]) -> list[str]:
    name, text, least = "Redis", info.get("redis_version"), _LEAST_REDIS
    if "valkey_version" in info:
        name, text, least = "Valkey", info["valkey_version"], _LEAST_VALKEY
    if text is None:
        return ["the user may not run INFO, so the version and the memory policy are unknown: allow +info"]
    version = tuple(int(each) for each in re.findall(r"\d+", str(text))[:2])
    if version >= least:
        return []
    return [f"{name} {text} is too old: it must be at least {name} {least[0]}.{least[1]}"]


def _mode_faults(info: Mapping[str, Any], address: StoreAddress) -> tuple[str, ...]:
    mode = info.get("redis_mode", info.get("server_mode"))
    if mode == "cluster" and address.kind != "cluster":
        return ("the server is a node of a cluster: use valkey+cluster:// with some of its nodes",)
    if mode == "sentinel":
        return ("the server is a Sentinel: use valkey+sentinel:// with the name of the service",)
    if info.get("role") == "slave":
        return ("the server is a replica, which takes no writes: name its primary, or use valkey+sentinel://",)
    return ()


def _memory_faults(info: Mapping[str, Any]) -> list[str]:
    policy = info.get("maxmemory_policy", "noeviction")
    if policy == "noeviction" or not info.get("maxmemory"):
        return []
    return [f"maxmemory-policy is {policy}, which may remove the log under memory pressure: set it to noeviction"]


async def _permission_faults(client: Any, tagged: str) -> list[str]:
    """Runs each command once that `ValkeyLog` runs, on a key of its own."""
    key, stream = f"{tagged}:check", f"{tagged}:check:stream"
    commands: tuple[tuple[str, Callable[[], Awaitable[object]]], ...] = (
        ("set", lambda: client.set(key, "1", px=10_000)),
        ("get", lambda: client.get(key)),
        ("xadd", lambda: client.xadd(stream, {"p": b""}, maxlen=1)),
        ("xread", lambda: client.xread({stream: "0-0"}, count=1)),
        ("xtrim", lambda: client.xtrim(stream, maxlen=0)),
        ("xinfo|stream", lambda: client.xinfo_stream(stream)),
        ("eval", lambda: client.eval("return redis.call('PEXPIRE', KEYS[1], 10000)", 1, key)),
        ("evalsha", lambda: client.evalsha("0" * 40, 1, key)),
        ("script|load", lambda: client.script_load("return 1")),
        ("del", lambda: client.delete(key, stream)),
    )
    refused, other = [], []
    for name, run in commands:
        try:
            await run()
        except NoPermissionError as error:
            if "access" in str(error):  # to a key; the text of another refusal names the command
                return [f"the user may not use the keys {tagged}:*: allow ~{tagged}:*"]
            refused.append(name)
        except NoScriptError:
            pass  # EVALSHA may run, and knows no such script
        except ResponseError as error:
            other.append(f"{name} fails: {error}")
    if not refused:
        return other
    return [f"the user may not run {', '.join(refused)}: allow {' '.join('+' + each for each in refused)}", *other]
