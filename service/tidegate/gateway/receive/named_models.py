"""Finds the models that a body names, on routes other than `POST /v1/messages`: for callers that may use only some."""

from typing import Any, Final

from msgspec import DecodeError, Struct
from msgspec.json import Decoder

from tidegate.core.ports.transport import Fields
from tidegate.gateway.receive.request import COUNT_TOKENS_ROUTE

__all__ = ["named_models", "reads_models"]

_UNREADABLE: Final = ("",)
_FILES: Final = "/v1/files"


class _Params(Struct, gc=False):
    model: Any = None


class _Request(Struct, gc=False):
    params: _Params | None = None


class _Body(Struct, gc=False):
    model: Any = None
    requests: list[_Request] | None = None


_BODY: Final = Decoder(_Body).decode


def reads_models(route: str, fields: Fields) -> bool:
    """Whether the body of a call may name models: all bodies but file uploads and forms."""
    return route != _FILES and not fields.get(b"content-type", b"").lower().startswith(b"multipart/")


def named_models(route: str, body: bytes) -> tuple[str, ...]:
    """The models that a body names.

    An empty name stands for a required model that is missing, or that cannot be read. It takes about a third of a
    millisecond per megabyte, and blocks the event loop for so long.
    """
    try:
        fields = _BODY(body)
    except (DecodeError, RecursionError, UnicodeDecodeError):
        return _UNREADABLE
    names = [_name(None if each.params is None else each.params.model) for each in fields.requests or ()]
    if fields.model is not None or route == COUNT_TOKENS_ROUTE:
        names.append(_name(fields.model))
    return tuple(dict.fromkeys(names))


def _name(model: object) -> str:
    """The id of a model: a string, or the `id` of an object, as in `/v1/agents`."""
    if isinstance(model, dict):
        model = model.get("id")
    return model if isinstance(model, str) else ""
