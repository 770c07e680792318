"""How many worker slots a queue needs to keep its service level: pure arithmetic, no I/O."""

from laneway.scaling.answer import Answer, Known, Unknown
from laneway.scaling.need import Load, Need, slots_needed
from laneway.scaling.pace import Pace, pace_of_environment
from laneway.scaling.queue_load import QueueLoad, Seen
from laneway.scaling.report import Report, read_report

__all__ = [
    # The arithmetic
    "Load",
    "Need",
    "slots_needed",
    # What is known of a queue
    "Pace",
    "QueueLoad",
    "Seen",
    "pace_of_environment",
    # What workers report
    "Report",
    "read_report",
    # The answer
    "Answer",
    "Known",
    "Unknown",
]
