"""Running once, and being published once, where a task asks for it: marks in Redis."""

from laneway.once.once import Once
from laneway.once.unique import Unique

__all__ = ["Once", "Unique"]
