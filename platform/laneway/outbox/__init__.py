"""The outbox: jobs stored in the service's own transaction, published by a relay.

::

    task.delay() ──> compose ──> a row, in the caller's transaction ──> commit
                                                                          │
    broker <── relay: leases rows, publishes, deletes what is confirmed <─┘

A job is composed at the call, byte for byte what would be published, so a wrong call is an error
there. What is committed is published at least once, with the same id; what is rolled back never.

Where the row is stored: :mod:`laneway.outbox.django`, :mod:`laneway.outbox.sqlalchemy`, or, for a
service without a database, a file on its disk (:class:`Spool`).
"""

from laneway.outbox.place import open_store
from laneway.outbox.relay import Relay
from laneway.outbox.row import Row
from laneway.outbox.spool import Spool
from laneway.outbox.store import Store

__all__ = ["Relay", "Row", "Spool", "Store", "open_store"]
