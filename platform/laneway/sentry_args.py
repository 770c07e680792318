"""Arguments of a task that may be seen in Sentry: ``@app.task(sentry_args=["order_id"])``."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from laneway.policy.problems import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def sentry_args_of(option: object) -> tuple[str, ...]:
    """The names that ``sentry_args=`` gives.

    Raises:
        ValueError: it is no list of names.
    """
    is_names = isinstance(option, list | tuple) and all(
        isinstance(name, str) and name.isidentifier() for name in option
    )
    if not is_names:
        raise ValueError(
            f"expected sentry_args to be a list of the names of arguments, got: {option!r}"
        )
    return tuple(option)  # type: ignore[arg-type]


def check_names(task: str, names: Sequence[str], signature: inspect.Signature) -> None:
    """Refuse names that the task's function has no arguments for.

    Args:
        task: its name.
        names: of :func:`sentry_args_of`.
        signature: of the task's function, as it is called.

    Raises:
        ValueError: says which.
    """
    parameters = signature.parameters
    if any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values()):
        return
    for name in names:
        if name not in parameters:
            raise ValueError(
                f"{task}: expected sentry_args to name arguments of the task "
                f"({', '.join(parameters) or 'it has none'}), got: {name!r}"
                f"{did_you_mean(name, parameters)}"
            )


def named(
    signature: inspect.Signature, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """The arguments of a call by name; only those given by name if the call does not fit."""
    try:
        bound = signature.bind_partial(*args, **kwargs)
    except TypeError:
        return dict(kwargs)
    found = dict(bound.arguments)
    for name, parameter in bound.signature.parameters.items():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            found |= found.pop(name, {})
    return found
