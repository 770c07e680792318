"""The cause of a failure: one short id for all failures that one repair would end.

It is made of the task, the kind of error and the place in the task's own code; not of the error's
text, which has ids and times in it, nor of line numbers, which move with every release.
"""

from __future__ import annotations

import hashlib
import json
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from types import CodeType, TracebackType

#: Hexadecimal digits of a cause.
CAUSE_DIGITS: Final = 12


def cause_of(task: str | None, error_type: str | None, place: str | None) -> str:
    """Twelve hexadecimal digits that are the same in every process and release.

    Args:
        task: the task's name; None where no task could be made of the message.
        error_type: of :func:`error_type_of`, or a name for what the broker did.
        place: of :func:`place_of`; None where no code of the task ran.
    """
    text = json.dumps([task, error_type, place])
    return hashlib.sha256(text.encode()).hexdigest()[:CAUSE_DIGITS]


def error_type_of(error: BaseException) -> str:
    """The class of an error, with its module unless it is built in."""
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else _dotted(kind)


def place_of(traceback: TracebackType | None, task_module: str) -> str | None:
    """Where an error happened: the innermost function of the task's own package, or of all.

    An error that a library raises is that of the code that called it.

    Args:
        traceback: of the error.
        task_module: the module of the task's function; what shares its first name is its package.
    """
    package = task_module.partition(".")[0]
    innermost = own = None
    while traceback is not None:
        frame = traceback.tb_frame
        module = frame.f_globals.get("__name__")
        if isinstance(module, str):
            innermost = f"{module}:{_name(frame.f_code)}"
            if module.partition(".")[0] == package:
                own = innermost
        traceback = traceback.tb_next
    return own or innermost


def _dotted(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _name(code: CodeType) -> str:
    return code.co_qualname if sys.version_info >= (3, 11) else code.co_name
