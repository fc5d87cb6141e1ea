"""The clients for the three kinds of addresses."""

from tidegate.core.ports.store_address import parse_store_url
from tidegate.stores.valkey.connection import connect


def test_sentinels_have_a_user_and_a_password_of_their_own() -> None:
    client = connect(
        parse_store_url("valkey+sentinel://ben:one@cache/main?sentinel_user=ann&sentinel_password=two"), 1.0
    )
    pool = client.connection_pool
    assert (pool.connection_kwargs["username"], pool.connection_kwargs["password"]) == ("ben", "one")
    (sentinel,) = pool.sentinel_manager.sentinels
    kwargs = sentinel.connection_pool.connection_kwargs
    assert (kwargs["username"], kwargs["password"]) == ("ann", "two")
