"""The models that a body names, of routes other than `POST /v1/messages`: for callers that may use only some."""

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
    """Whether the body of a call may name models: all but uploads of files, and forms."""
    return route != _FILES and not fields.get(b"content-type", b"").lower().startswith(b"multipart/")


def named_models(route: str, body: bytes) -> tuple[str, ...]:
    """The models that a body names.

    An empty name stands for a model that is missing where the API needs one, or cannot be read. Takes about a third of
    a millisecond per megabyte, in one go.
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
    """A model's id: itself, or the `id` of an object, as in `/v1/agents`."""
    if isinstance(model, dict):
        model = model.get("id")
    return model if isinstance(model, str) else ""
