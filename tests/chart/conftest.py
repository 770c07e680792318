"""The chart is judged by real tools; they are installed by ``make test``."""

from __future__ import annotations

import pytest

from support.chart_tools import ChartTools, find_chart_tools


@pytest.fixture(scope="session")
def tools() -> ChartTools:
    """What judges manifests."""
    found = find_chart_tools()
    assert found is not None, "the chart's tools are missing: `make chart-tools` installs them"
    return found
