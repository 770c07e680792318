"""Reports of workers, as the scaler hears them."""

from __future__ import annotations

from typing import Any

from laneway.scaling import Report


def report(worker: str = "a", **parts: Any) -> Report:
    """One of a worker of ``high`` that has done nothing, but for the parts that are said."""
    return Report(
        **{
            "queue": "high",
            "worker": worker,
            "run": "1",
            "up": 0.0,
            "every": 5.0,
            "concurrency": 4,
            "consumers": 1,
            "busy": 0,
            "running_for": 0.0,
            "ended": 0,
            "runtime": 0.0,
            "started": 0,
            "wait": 0.0,
            "waits": (),
            "leaving": False,
            **parts,
        }
    )
