"""What is put around a method of a class of tasks, once, whatever it is bound to."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def own_of(task: type, method: str) -> tuple[Any, inspect.Signature]:
    """What a class of tasks has of its own as a method, beneath what was put around it.

    Returns:
        The attribute as it stands in the class, and its signature as it is called on an instance.
    """
    found = inspect.getattr_static(task, method)
    found = getattr(found, "own", found)
    if isinstance(found, staticmethod):
        return found, inspect.signature(found.__func__)
    signature = inspect.signature(found)
    return found, signature.replace(parameters=list(signature.parameters.values())[1:])


def put_around(task: type, method: str, own: Any, ours: Callable[..., Any]) -> None:
    """Put a function in the place of a method; :func:`own_of` still finds what was there."""
    ours.own = own  # type: ignore[attr-defined]
    ours.__name__ = method
    setattr(task, method, ours)
