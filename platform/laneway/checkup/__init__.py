"""The check-up: is everything there that the platform's promises need? One line each, with a cure.

Nothing is changed, and one finding never hides the next: what cannot be looked at because something
before it failed is left out.
"""

from laneway.checkup.check import Check, Verdict
from laneway.checkup.everything import check_up

__all__ = [
    "Check",
    "Verdict",
    "check_up",
]
