"""The properties of a message as the C client takes them.

It does not check them: None is read as if it were text, a number that is none as another error,
and a property that it does not know is left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_TEXTS: Final = frozenset(
    {
        "content_type",
        "content_encoding",
        "correlation_id",
        "reply_to",
        "expiration",
        "message_id",
        "type",
        "user_id",
        "app_id",
    }
)
#: The numbers, with the highest value of each.
_NUMBERS: Final = {"delivery_mode": 2, "priority": 255, "timestamp": 2**63 - 1}


def wire_properties(properties: Mapping[str, Any]) -> dict[str, Any]:
    """The properties that are there (not None), each as what it must be.

    Raises:
        ValueError: a property that the client does not know, or whose value it would garble.
    """
    given = {name: value for name, value in properties.items() if value is not None}
    for name, value in given.items():
        if name in _TEXTS:
            fits = isinstance(value, str) and value.isascii()
            expected = "ASCII text"
        elif name in _NUMBERS:
            fits = type(value) is int and 0 <= value <= _NUMBERS[name]
            expected = f"a whole number up to {_NUMBERS[name]}"
        elif name == "headers":
            fits, expected = isinstance(value, dict), "a dict"
        else:
            raise ValueError(
                f"librabbitmq would leave out the property {name!r}: expected one of "
                f"{', '.join(sorted({*_TEXTS, *_NUMBERS, 'headers'}))}"
            )
        if not fits:
            raise ValueError(f"{name}: expected {expected} for librabbitmq, got: {value!r}")
    return given
