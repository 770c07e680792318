"""A newsletter whose mails are sent by the published package django-celery-email, unmodified."""

from __future__ import annotations

import os

from celery import Celery
from django.conf import settings
from django.core.mail import send_mail

settings.configure(
    USE_TZ=True,
    DEFAULT_FROM_EMAIL="news@example.org",
    # Django gives every mail to the package, whose task gives it to the real backend.
    EMAIL_BACKEND="djcelery_email.backends.CeleryEmailBackend",
    CELERY_EMAIL_BACKEND="django.core.mail.backends.filebased.EmailBackend",
    EMAIL_FILE_PATH=os.environ.get("NEWS_MAILS", "mails"),
    INSTALLED_APPS=["djcelery_email"],
    CELERY_BROKER_URL=os.environ.get("NEWS_BROKER", "amqp://guest:guest@127.0.0.1:5672"),
    CELERY_RESULT_BACKEND=os.environ.get("NEWS_RESULTS"),
    CELERY_TASK_SERIALIZER="json",
    CELERY_TIMEZONE="Europe/Berlin",
)

app = Celery("news")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["djcelery_email"])


@app.task(name="news.welcome")
def welcome(reader: str) -> int:
    """Write to a new reader; the mail itself is a job of the package."""
    send_mail("Welcome", f"Dear {reader},\n\nthank you for reading.", None, [reader])
    return 1
