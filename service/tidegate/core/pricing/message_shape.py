"""The properties of a Messages call from which its cost is estimated."""

from typing import NamedTuple

from msgspec import Struct

from tidegate.core.pricing.prompt_size import PromptSize

__all__ = ["MessageShape", "Prefix"]


class Prefix(NamedTuple):
    """A beginning of a prompt. One call may have thousands of them.

    Attributes:
        digest: identifies the prefix, in this process only.
        text_bytes: size of its text.
        beside: the size of everything else in it.
        marked: whether it ends with `cache_control`.
    """

    digest: int
    text_bytes: int
    beside: PromptSize
    marked: bool

    @property
    def size(self) -> PromptSize:
        """The size of all of it."""
        return self.beside._replace(text_bytes=self.text_bytes)


class MessageShape(Struct, frozen=True, gc=False):
    """The shape of a Messages call. `prefixes` are sorted from the shortest to the longest."""

    caller: str
    model: str
    size: PromptSize
    max_tokens: int | None = None
    prefixes: tuple[Prefix, ...] = ()
