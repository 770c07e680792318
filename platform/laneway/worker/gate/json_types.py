"""The types that JSON may bring, as sets in which a value's type is looked up."""

from __future__ import annotations

from typing import Final

NONE: Final[type] = type(None)
TEXT: Final[frozenset[type]] = frozenset({str, NONE})
WHOLE: Final[frozenset[type]] = frozenset({int, NONE})
NUMBER: Final[frozenset[type]] = frozenset({int, float, NONE})
MAPPING: Final[frozenset[type]] = frozenset({dict, NONE})
LIST: Final[frozenset[type]] = frozenset({list, NONE})
#: What can be inside of itself.
CONTAINERS: Final[frozenset[type]] = frozenset({dict, list})
