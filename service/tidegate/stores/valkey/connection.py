"""Connects to a Valkey or Redis server, to the primary that Sentinel names, or to a cluster."""

from typing import Any

from valkey.asyncio import Sentinel, Valkey
from valkey.asyncio.cluster import ClusterNode, ValkeyCluster

from tidegate.core.ports.store_address import StoreAddress

__all__ = ["connect"]


def connect(address: StoreAddress, timeout_seconds: float) -> Any:  # the three clients have no common type
    """A client; it connects with its first command."""
    connection: dict[str, Any] = {"socket_timeout": timeout_seconds, "socket_connect_timeout": timeout_seconds}
    if address.tls:
        connection |= {"ssl": True, "ssl_ca_certs": address.ca_file, "ssl_check_hostname": True}
    user: dict[str, Any] = {"username": address.username, "password": address.password}
    if address.kind == "cluster":
        nodes = [ClusterNode(host, port) for host, port in address.nodes]
        return ValkeyCluster(startup_nodes=nodes, **connection, **user)
    if address.kind == "sentinel":
        sentinel: Any = Sentinel  # untyped in valkey-py
        own = {"username": address.sentinel_username, "password": address.sentinel_password}
        sentinels = sentinel(address.nodes, sentinel_kwargs=connection | own, **connection, **user)
        return sentinels.master_for(address.service)
    ((host, port),) = address.nodes
    return Valkey(host=host, port=port, db=address.database, **connection, **user)
