"""The licence of a server that is not free software: shown and accepted before it is installed."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

ACCEPT_VARIABLE: Final = "LANEWAY_ACCEPT_LICENCE"
"""Environment variable with the name of a licence that the user accepts without being asked."""


@dataclass(frozen=True, kw_only=True)
class Licence:
    """What has to be accepted."""

    software: str
    """What it is the licence of: "Bugsink 2.6.1"."""
    name: str
    """Its name in the list of SPDX: "PolyForm-Shield-1.0.0"."""
    url: str
    """Where it is published."""
    text: str = field(repr=False)
    """All of it."""


Accepts = Callable[[Licence], bool]
"""Shows a licence and says whether the user accepts it."""


def accepted_in_advance(licence: Licence) -> bool:
    """Whether the environment names exactly this licence; shows nothing, asks nobody."""
    return os.environ.get(ACCEPT_VARIABLE) == licence.name
