"""Makes HTML. Everything that is not HTML already is escaped."""

from collections.abc import Iterable
from html import escape
from typing import Final

__all__ = ["Content", "Html", "tag"]

_VOID: Final = frozenset({"input", "link", "meta"})
"""Elements without content, and without an end tag."""


class Html(str):
    """Text that is HTML. Only `tag` should make it."""

    __slots__ = ()


Content = Html | str | int | None | Iterable["Content"]
"""The content of an element: HTML, text, a number, nothing, or several of these."""


def tag(element: str, /, *content: Content, **attributes: str | float | bool | None) -> Html:
    """An element.

    Args:
        element: its name.
        content: its content. Text is escaped.
        attributes: by name, with `_` in place of `-` and after Python's own words (`class_`). None and False leave the
            attribute out, True gives it no value.
    """
    begin = "".join(_attribute(each.rstrip("_").replace("_", "-"), value) for each, value in attributes.items())
    return Html(f"<{element}{begin}>" if element in _VOID else f"<{element}{begin}>{_inside(content)}</{element}>")


def _attribute(name: str, value: str | float | bool | None) -> str:  # noqa: FBT001 - a value of an attribute
    if value is None or value is False:
        return ""
    return f" {name}" if value is True else f' {name}="{escape(str(value))}"'


def _inside(content: Content) -> str:
    if content is None:
        return ""
    if isinstance(content, Html):
        return content
    if isinstance(content, str | int):
        return escape(str(content))
    return "".join(map(_inside, content))
