"""What people see in a terminal: the live view and the tables.

``numbers`` writes waits and counts, ``live`` is the view of a running platform, ``tables`` are the
lists. Nothing here reads a broker: values in, pictures out.
"""

from laneway.console.live import Display, display, picture
from laneway.console.tables import table

__all__ = ["Display", "display", "picture", "table"]
