"""What a worker does not need it does not load: each module is memory in every worker."""

from __future__ import annotations

import subprocess
import sys

import pytest

_WORKER = """
import sys
import laneway.cli.worker, laneway.log, laneway.worker
import laneway.worker.consumer, laneway.worker.job_worker, laneway.worker.pause_watch
import laneway.worker.topology_check, laneway.worker.direct.process
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""


@pytest.fixture(scope="module")
def loaded() -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", _WORKER], capture_output=True, text=True, check=True, timeout=60
    )
    return set(done.stdout.split())


@pytest.mark.parametrize("module", ["httpx", "rich", "prometheus_client", "pygments", "sentry_sdk"])
def test_a_worker_does_not_load(loaded: set[str], module: str) -> None:
    assert module not in loaded


def test_the_look_sees_what_is_loaded(loaded: set[str]) -> None:
    assert {"celery", "laneway"} <= loaded
