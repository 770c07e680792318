"""Celery's result backend for Redis, for whom a publish does not need Redis.

Celery listens for the result before it publishes a job. Whoever wants the result listens again and
looks what is there (``get()``, ``then()``, a group), so nothing is gained; and while Redis is away
each call would take 20 seconds, raise, and publish nothing.
"""

from __future__ import annotations

from celery.backends.base import Backend
from celery.backends.redis import RedisBackend, SentinelBackend


class JobRedisBackend(RedisBackend):
    """Celery's, but for what it does at a publish: nothing."""

    on_task_call = Backend.on_task_call


class JobSentinelBackend(SentinelBackend):
    """The same for Redis behind Sentinel."""

    on_task_call = Backend.on_task_call
