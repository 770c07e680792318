"""When a message came before its time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from celery.exceptions import InvalidTaskError

from laneway.worker.direct.early import too_early


@pytest.mark.parametrize(("seconds", "early"), [(-5, False), (0.5, False), (30, True)])
@pytest.mark.parametrize("zone", [UTC, None])
def test_how_early(seconds: float, early: bool, zone: object) -> None:
    due = datetime.now(UTC) + timedelta(seconds=seconds)
    text = (due if zone else due.replace(tzinfo=None)).isoformat()
    assert (too_early(text) > 0) == early


def test_no_eta_is_now() -> None:
    assert too_early(None) == 0


@pytest.mark.parametrize("eta", ["tomorrow", 77, [], b"2026-01-01"])
def test_what_is_no_time_is_an_error(eta: object) -> None:
    with pytest.raises(InvalidTaskError, match="invalid ETA"):
        too_early(eta)
