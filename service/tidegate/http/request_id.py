"""Ids of requests."""

import random

__all__ = ["new_request_id"]


def new_request_id() -> str:
    """A new id, unique in practice. It is not a secret, so `random` is enough."""
    return f"tg_{random.getrandbits(128):032x}"
