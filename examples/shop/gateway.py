"""The payment gateway that the shop talks to: simulated, and so the same on every run.

A few cards are declined, and the gateway is busy for some orders: for one attempt, for two, or
until the shop gives up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

#: How often the shop asks again when the gateway is busy.
MAX_RETRIES: Final = 3


@dataclass(frozen=True, slots=True)
class Paid:
    """The money is taken."""

    #: The gateway's reference of the payment.
    reference: str


@dataclass(frozen=True, slots=True)
class Declined:
    """The card will never pay this order."""


@dataclass(frozen=True, slots=True)
class Busy:
    """Ask again later."""


Answer = Paid | Declined | Busy


def busy_attempts(number: int) -> int:
    """For how many attempts the gateway is busy for the order ``number``."""
    if number % 331 == 0:
        return MAX_RETRIES + 1
    if number % 67 == 0:
        return 2
    return 1 if number % 23 == 0 else 0


def is_declined(number: int) -> bool:
    """Whether the card of the order ``number`` is declined, once the gateway has time."""
    return number % 41 == 0


def ask(number: int, *, attempt: int) -> Answer:
    """Ask for the money of the order ``number``; ``attempt`` counts from 1."""
    if attempt <= busy_attempts(number):
        return Busy()
    return Declined() if is_declined(number) else Paid(f"pay-{number:06d}")
