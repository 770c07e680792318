"""The settings of a small Django project with an outbox.

``LANEWAY_TEST_SQLITE`` names the file of the database ``default``, ``LANEWAY_TEST_POSTGRES`` the
server (``host:port``) of the database ``postgres``, if there is one.
"""

from __future__ import annotations

import os
from typing import Any

SECRET_KEY = "of no use to anybody"
USE_TZ = True
INSTALLED_APPS = ["laneway.outbox.django"]
DATABASES: dict[str, dict[str, Any]] = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("LANEWAY_TEST_SQLITE", ":memory:"),
        "OPTIONS": {"timeout": 20},
    }
}
if _server := os.environ.get("LANEWAY_TEST_POSTGRES"):
    DATABASES["postgres"] = {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "django",
        "USER": "test",
        "HOST": _server.partition(":")[0],
        "PORT": _server.partition(":")[2],
    }
