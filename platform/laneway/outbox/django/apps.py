"""The application, as Django knows it."""

from __future__ import annotations

from django.apps import AppConfig


class OutboxConfig(AppConfig):
    """The outbox's table."""

    name = "laneway.outbox.django"
    label = "laneway_outbox"
    verbose_name = "Laneway outbox"
    default_auto_field = "django.db.models.BigAutoField"
