"""The control process: what is nobody's job otherwise.

::

    laneway control ──┬── a keeper for each virtual host    dead.inbox ──> dead letters
                      ├── the scaler                      reports, counters ──> slots needed
                      └── what is done periodically
"""

from laneway.control.app import ControlApp
from laneway.control.keeper import Keeper
from laneway.control.periodic import Periodic
from laneway.control.process import Control
from laneway.control.results import Results
from laneway.control.scaler import Scaler

__all__ = [
    # The process
    "Control",
    "ControlApp",
    # Its parts
    "Keeper",
    "Periodic",
    "Results",
    "Scaler",
]
