"""Every block of docs/how-to/once.md runs, and prints what stands behind its ``print``."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.workers import environment

if TYPE_CHECKING:
    from laneway.broker import BrokerAddress
    from laneway.local import PrivateRedis

pytestmark = pytest.mark.integration

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "once.md"


def test_the_blocks_run_from_top_to_bottom(topology: BrokerAddress, redis: PrivateRedis) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
    script = "\n".join(blocks)
    expected = re.findall(r"^ *print\(.*\)  # (.*)$", script, re.MULTILINE)
    assert len(expected) >= 5
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment(topology, redis.url),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.stdout.splitlines() == expected, done.stderr
