"""What the control process answers about scaling, to machines and to people."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from laneway.errors import UnknownQueue
from laneway.probes import Answer as Page
from laneway.scaling import Known
from laneway.scaling.words import explained

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from laneway.control.scaler import Scaler
    from laneway.scaling import Answer


def scaler_pages(scaler: Scaler) -> Mapping[str, Callable[[str], Page]]:
    """The pages by their path; what ends with a slash is followed by the name of a queue."""
    return {
        "/scale": lambda _: _scale_all(scaler),
        "/scale/": lambda queue: _scale(scaler, queue),
        "/explain/": lambda queue: _explain(scaler, queue),
        "/explain": lambda _: _explain_all(scaler),
    }


def _scale(scaler: Scaler, queue: str) -> Page:
    try:
        answer = scaler.answer(queue)
    except UnknownQueue as error:
        return _json(404, {"known": False, "reason": str(error)})
    return _json(_status(answer), answer.to_dict())


def _explain(scaler: Scaler, queue: str) -> Page:
    try:
        answer = scaler.answer(queue)
    except UnknownQueue as error:
        return _text(404, f"{error}\n")
    return _text(_status(answer), explained(answer))


def _scale_all(scaler: Scaler) -> Page:
    answers = scaler.answers()
    return _json(_status(*answers), {"queues": [answer.to_dict() for answer in answers]})


def _explain_all(scaler: Scaler) -> Page:
    answers = scaler.answers()
    return _text(_status(*answers), "\n".join(map(explained, answers)))


def _status(*answers: Answer) -> int:
    return 200 if all(isinstance(answer, Known) for answer in answers) else 503


def _json(status: int, value: dict[str, Any]) -> Page:
    return Page(status=status, kind="application/json", body=json.dumps(value).encode() + b"\n")


def _text(status: int, text: str) -> Page:
    return Page(status=status, kind="text/plain; charset=utf-8", body=text.encode())
