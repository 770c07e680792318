"""What a sales report adds up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shop.purchases import Purchase

Measure = Literal["orders", "items", "cents"]
#: One report each.
MEASURES: Final[tuple[Measure, ...]] = ("orders", "items", "cents")


def total(purchases: Iterable[Purchase], measure: Measure) -> int:
    """The sum of ``measure`` over ``purchases``."""
    match measure:
        case "orders":
            return sum(1 for _ in purchases)
        case "items":
            return sum(purchase.items for purchase in purchases)
        case "cents":
            return sum(purchase.cents for purchase in purchases)
