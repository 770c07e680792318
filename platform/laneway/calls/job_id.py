"""The id of a job: a random UUID (version 4), in the text that Celery gives it."""

from __future__ import annotations

import os
from typing import Final

# The first hexadecimal digit of the fourth group: two bits say "random UUID", two are random.
_VARIANT: Final = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


def new() -> str:
    """A new id, without the object that ``uuid.uuid4()`` makes and takes apart for it."""
    digits = os.urandom(16).hex()
    return (
        f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-"
        f"{_VARIANT[digits[16]]}{digits[17:20]}-{digits[20:]}"
    )
