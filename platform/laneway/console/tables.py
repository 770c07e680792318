"""Lists as tables, all in one manner."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import RenderableType


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[RenderableType]],
    *,
    numbers: Iterable[str] = (),
    title: str | None = None,
) -> Table:
    """A table without frames; the columns named in ``numbers`` are aligned to the right."""
    right = set(numbers)
    made = Table(
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        header_style="bold",
        title=title,
        title_justify="left",
        title_style="bold",
    )
    for column in columns:
        made.add_column(
            column,
            justify="right" if column in right else "left",
            no_wrap=column in right,
            overflow="fold",
        )
    for row in rows:
        # A name may hold what looks like markup; here it is a name.
        made.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in row))
    return made
