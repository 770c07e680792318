"""What equal jobs have in common: a key made of a task's arguments."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from typing import TYPE_CHECKING, Any, Final

from laneway.errors import SettingsError
from laneway.publish import arguments

if TYPE_CHECKING:
    import inspect
    from collections.abc import Callable, Mapping

    #: Names of arguments, or a function of them that gives text or a number.
    KeyOption = str | tuple[str, ...] | Callable[..., str | int]

#: The variable that makes keys of arguments impossible to guess.
SECRET: Final = "LANEWAY_KEY_SECRET"  # noqa: S105 (its name)
_LENGTH: Final = 40


class JobKey:
    """Makes the keys of one task's jobs.

    ``f(1, b=2)`` and ``f(1, 2)`` are equal, and so is a call that leaves out a default. A key shows
    nothing of the arguments, but without a secret whoever knows the task can try out guesses.

    Args:
        task: the task's name.
        option: which arguments count; all of them if None.
        signature: of the task's function, as it is called.

    Raises:
        ValueError: the function has no such argument.
    """

    def __init__(self, task: str, option: KeyOption | None, signature: inspect.Signature) -> None:
        self._task = task
        self._option = option
        self._signature = signature
        names = (option,) if isinstance(option, str) else option
        if isinstance(names, tuple):
            unknown = [name for name in names if name not in signature.parameters]
            if unknown:
                raise ValueError(
                    f"{task}: expected key to name arguments of {task}{signature}, got: "
                    f"{', '.join(map(repr, unknown))}"
                )

    def of(
        self,
        args: Any,
        kwargs: Any,
        *,
        secure: bool = False,
        environ: Mapping[str, str] = os.environ,
    ) -> str:
        """The key of a call.

        Args:
            args: positional arguments.
            kwargs: keyword arguments.
            secure: whether nobody may find out the arguments by trying.
            environ: where the secret is looked up.

        Raises:
            TypeError: the task does not take these arguments, or ``key`` gave neither text nor a
                number.
            ArgumentsNotSerializable: JSON cannot carry them.
            SettingsError: ``secure``, and there is no secret.
        """
        secret = environ.get(SECRET, "")
        if secure and not secret:
            raise SettingsError(needs_secret(self._task))
        # As they are on the wire, so that publisher and worker agree.
        wire = json.loads(arguments.body((self._what_counts(args or (), kwargs or {}),), {}))
        data = json.dumps([self._task, wire[0][0]], sort_keys=True).encode()
        if secret:
            return hmac.new(secret.encode(), data, hashlib.sha256).hexdigest()[:_LENGTH]
        return hashlib.sha256(data).hexdigest()[:_LENGTH]

    def _what_counts(self, args: Any, kwargs: Any) -> Any:
        option = self._option
        if callable(option):
            made = option(*args, **kwargs)
            if isinstance(made, bool) or not isinstance(made, str | int):
                raise TypeError(
                    f"{self._task}: expected key to give text or a whole number, got: "
                    f"{type(made).__name__}"
                )
            return made
        call = self._signature.bind(*args, **kwargs)
        call.apply_defaults()
        if option is None:
            return call.arguments
        names = (option,) if isinstance(option, str) else option
        return {name: call.arguments[name] for name in names}


def needs_secret(task: str) -> str:
    """What is wrong with a task of a secure queue that has no secret."""
    return (
        f"{task}: expected {SECRET} to be set, because the task goes to a secure queue and a key "
        "made of its arguments could be guessed without it. Give workers and publishers the same "
        "long random text, or take the key out."
    )


def check_option(owner: str, option: object) -> None:
    """Refuse what cannot be a key.

    Raises:
        ValueError: says what was expected.
    """
    names = (option,) if isinstance(option, str) else option
    is_names = (
        isinstance(names, tuple)
        and bool(names)
        and all(isinstance(name, str) and name.isidentifier() for name in names)
    )
    if not (option is None or callable(option) or is_names):
        raise ValueError(
            f"expected {owner}'s key to be the name of an argument, several as a tuple, or a "
            f"function of the arguments, got: {option!r}"
        )
