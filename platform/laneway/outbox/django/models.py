"""The outbox's table, for Django's migrations and for looking at it; the relay uses plain SQL."""

from __future__ import annotations

from django.db import models

from laneway.outbox.row import LONGEST_KEY, TABLE


class StoredJob(models.Model):
    """A row of the outbox; what the columns mean is said in :class:`laneway.outbox.row.Row`."""

    id = models.BigAutoField(primary_key=True)
    job_id = models.CharField(max_length=255)
    task = models.CharField(max_length=255)
    queue = models.CharField(max_length=255)
    priority = models.SmallIntegerField()
    vhost = models.CharField(max_length=16)
    order_key = models.CharField(max_length=LONGEST_KEY, null=True)
    created_at = models.FloatField()
    due_at = models.FloatField()
    lease_owner = models.CharField(max_length=255, null=True)
    attempts = models.IntegerField()
    aside = models.SmallIntegerField()
    last_error = models.TextField(null=True)
    method = models.BinaryField()
    properties = models.BinaryField()
    body = models.BinaryField()

    class Meta:
        """Of the table."""

        db_table = TABLE
        verbose_name = "stored job"
        indexes = (models.Index(fields=["order_key", "id"], name=f"{TABLE}_order"),)

    def __str__(self) -> str:
        return f"{self.task} {self.job_id}"
