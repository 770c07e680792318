"""From a call of a task to the message of a job, prepared once for all alike."""

from laneway.calls.publishing import PublishingApp

__all__ = ["PublishingApp"]
