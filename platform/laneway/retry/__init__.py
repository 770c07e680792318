"""When a job that failed is tried again, and what that may cost."""

from laneway.retry.backoff import Backoff
from laneway.retry.budget import RetryBudget

__all__ = ["Backoff", "RetryBudget"]
