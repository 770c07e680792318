"""Running a set of workers on this machine: the servers they need, the workers, the board.

::

    with local_platform(app="shop.app:app", policy=policy, report=print) as platform:
        platform.listen(print)      # every fact of every worker
        ...
"""

from laneway.workloads.board import Board, BoardView, Failure, QueueView
from laneway.workloads.group import ControlGroup, WorkerGroup
from laneway.workloads.issues import IssuePages
from laneway.workloads.platform import LocalPlatform, local_platform

__all__ = [
    # Running
    "ControlGroup",
    "IssuePages",
    "LocalPlatform",
    "WorkerGroup",
    "local_platform",
    # Numbers
    "Board",
    "BoardView",
    "Failure",
    "QueueView",
]
