"""What a call returns, and where results wait and are kept (that over Redis: by its name)."""

from laneway.results.late import LateResults
from laneway.results.result import JobResult

__all__ = ["JobResult", "LateResults"]
