"""Every block of docs/how-to/once.md runs, and prints what stands behind its ``print``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.how_to import blocks, promised, run_python, text_of
from support.workers import environment

if TYPE_CHECKING:
    from laneway.broker import BrokerAddress
    from laneway.local import PrivateRedis

pytestmark = pytest.mark.integration


def test_the_blocks_run_from_top_to_bottom(topology: BrokerAddress, redis: PrivateRedis) -> None:
    script = "\n".join(blocks(text_of("once"), "python"))
    assert len(promised(script)) >= 5
    assert run_python(script, environment(topology, redis.url)) == promised(script)
