"""The outbox as an application of a Django project: ``laneway.outbox.django`` in INSTALLED_APPS.

The table is made by ``manage.py migrate``.
"""

from laneway.outbox.django.outbox import Outbox

__all__ = ["Outbox"]
