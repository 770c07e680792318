"""The outbox's table."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import migrations, models


class Migration(migrations.Migration):
    """Makes it."""

    initial = True
    dependencies: ClassVar[list[Any]] = []
    operations: ClassVar[list[Any]] = [
        migrations.CreateModel(
            name="StoredJob",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("job_id", models.CharField(max_length=255)),
                ("task", models.CharField(max_length=255)),
                ("queue", models.CharField(max_length=255)),
                ("priority", models.SmallIntegerField()),
                ("vhost", models.CharField(max_length=16)),
                ("order_key", models.CharField(max_length=200, null=True)),
                ("created_at", models.FloatField()),
                ("due_at", models.FloatField()),
                ("lease_owner", models.CharField(max_length=255, null=True)),
                ("attempts", models.IntegerField()),
                ("aside", models.SmallIntegerField()),
                ("last_error", models.TextField(null=True)),
                ("method", models.BinaryField()),
                ("properties", models.BinaryField()),
                ("body", models.BinaryField()),
            ],
            options={
                "verbose_name": "stored job",
                "db_table": "laneway_outbox",
                "indexes": [models.Index(fields=["order_key", "id"], name="laneway_outbox_order")],
            },
        ),
    ]
