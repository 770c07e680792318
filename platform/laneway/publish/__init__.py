"""Confirmed publishing: from a message to what the broker says of it."""

from laneway.publish.batch import Batch
from laneway.publish.publisher import Publisher

__all__ = ["Batch", "Publisher"]
