"""Tables of the page."""

from collections.abc import Sequence
from dataclasses import dataclass

from tidegate.api.usage_page.markup import Content, Html, tag

__all__ = ["Table"]


@dataclass(frozen=True, slots=True)
class Table:
    """A table that scrolls sideways where it does not fit.

    Attributes:
        id: unique on the page.
        caption: what it shows.
        head: the columns. The first is that of the rows' names. A column without a heading has bars.
        rows: the cells of each row.
    """

    id: str
    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[Content]]

    def html(self) -> Html:
        """The table."""
        head = [
            tag("th", column, scope="col", class_=None if number == 0 else "number")
            if column
            else tag("td", class_="bars")
            for number, column in enumerate(self.head)
        ]
        caption_id = f"{self.id}-caption"
        table = tag(
            "table",
            tag("caption", self.caption, id=caption_id),
            tag("thead", tag("tr", head)),
            tag("tbody", [tag("tr", self._cells(row)) for row in self.rows]),
        )
        # Focusable, because it may scroll: without a mouse it could not be read otherwise.
        return tag("div", table, class_="table", role="region", aria_labelledby=caption_id, tabindex=0)

    def _cells(self, row: Sequence[Content]) -> list[Html]:
        name, *others = row
        cells = [tag("th", name, scope="row")]
        for column, cell in zip(self.head[1:], others, strict=True):
            cells.append(tag("td", cell, class_="number" if column else "bars"))
        return cells
