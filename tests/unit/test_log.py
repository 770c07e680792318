"""What of all that is logged is written."""

from __future__ import annotations

import io
import json
import logging
from typing import TYPE_CHECKING

import pytest

from laneway.log import configure_logging

if TYPE_CHECKING:
    from collections.abc import Iterator

LOGGERS = ("", "httpx", "laneway.job")


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Logging is the whole process's."""
    root = logging.getLogger()
    handlers, levels = root.handlers[:], {name: logging.getLogger(name).level for name in LOGGERS}
    yield
    root.handlers[:] = handlers
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


@pytest.mark.parametrize(("level", "written"), [("INFO", 1), ("ERROR", 0), ("DEBUG", 1)])
def test_requests_are_no_news_and_their_trouble_is(level: str, written: int) -> None:
    stream = io.StringIO()
    configure_logging("json", level=level, stream=stream)
    logging.getLogger("httpx").info("HTTP Request: GET /api/overview")
    logging.getLogger("httpx").warning("that went wrong")
    said = [json.loads(line)["log"]["message"] for line in stream.getvalue().splitlines()]
    assert said == ["that went wrong"] * written
