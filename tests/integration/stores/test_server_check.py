"""`server_faults` names the faults of a server that cannot hold the shared log."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from valkey import Valkey

from support.daemon import free_port
from support.valkey_server import valkey_server
from tidegate.core.ports.store_address import parse_store_url
from tidegate.stores.valkey.server_check import server_faults


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    with valkey_server(tmp_path_factory.mktemp("valkey")) as port, Valkey(port=port) as client:
        yield client


def faults(server: Valkey, user: str = "", options: str = "") -> tuple[str, ...]:
    port = server.connection_pool.connection_kwargs["port"]
    at = f"{user}@" if user else ""
    return asyncio.run(server_faults(parse_store_url(f"valkey://{at}127.0.0.1:{port}{options}")))


def test_a_fresh_server_has_no_faults_and_keeps_no_keys(server: Valkey) -> None:
    assert faults(server) == ()
    assert server.dbsize() == 0


def test_a_policy_that_evicts_is_a_fault_once_memory_is_bounded(server: Valkey) -> None:
    server.config_set("maxmemory-policy", "allkeys-lru")
    assert faults(server) == ()
    server.config_set("maxmemory", "100mb")
    try:
        (fault,) = faults(server)
    finally:
        server.config_set("maxmemory", "0")
        server.config_set("maxmemory-policy", "noeviction")
    assert fault.startswith("maxmemory-policy is allkeys-lru")
    assert fault.endswith("set it to noeviction")


def test_commands_that_a_user_may_not_run_are_named(server: Valkey) -> None:
    server.acl_setuser(
        "ann", enabled=True, passwords=["+pw"], keys=["{tidegate}:*"], commands=["+@all", "-eval", "-xtrim"]
    )
    assert faults(server, "ann:pw") == ("the user may not run xtrim, eval: allow +xtrim +eval",)


def test_a_user_without_the_keys_or_info_is_told_what_to_allow(server: Valkey) -> None:
    server.acl_setuser("ben", enabled=True, passwords=["+pw"], keys=["{tidegate}:*"], commands=["+@all", "-info"])
    (keys,) = faults(server, "ben:pw", "?prefix=other")[1:]
    assert "may not use the keys {other}:*: allow ~{other}:*" in keys
    (info,) = faults(server, "ben:pw")
    assert info.endswith("allow +info")


def test_a_wrong_password_and_an_unreachable_server_have_different_errors(server: Valkey) -> None:
    server.acl_setuser("cleo", enabled=True, passwords=["+pw"], keys=["{tidegate}:*"], commands=["+@all"])
    (refused,) = faults(server, "cleo:wrong")
    assert refused.startswith("the user or the password is refused")
    (gone,) = asyncio.run(server_faults(parse_store_url(f"valkey://127.0.0.1:{free_port()}")))
    assert gone.startswith("cannot be reached: ")


def test_a_replica_a_node_of_a_cluster_and_no_cluster_are_told_apart(tmp_path: Path, server: Valkey) -> None:
    with valkey_server(tmp_path, "--cluster-enabled", "yes") as port:
        (node,) = asyncio.run(server_faults(parse_store_url(f"valkey://127.0.0.1:{port}")))
    assert "use valkey+cluster://" in node
    port = server.connection_pool.connection_kwargs["port"]
    (no_cluster,) = asyncio.run(server_faults(parse_store_url(f"valkey+cluster://127.0.0.1:{port}")))
    assert "Cluster mode is not enabled" in no_cluster
    with valkey_server(tmp_path, "--replicaof", "127.0.0.1", str(port)) as replica:
        (read_only,) = asyncio.run(server_faults(parse_store_url(f"valkey://127.0.0.1:{replica}")))
    assert read_only.startswith("the server is a replica")
