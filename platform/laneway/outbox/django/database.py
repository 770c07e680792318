"""The outbox's table in a database of a Django project, as the relay sees it."""

from __future__ import annotations

import contextlib
import os
import re
from typing import TYPE_CHECKING, Any, Final

import django
from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.db import Error, connections, transaction

from laneway.errors import OutboxError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from laneway.outbox.database import Execute

_VALUE: Final = re.compile(r":(\w+)")


class DjangoDatabase:
    """A database of the project, by its alias; each thread has a connection of its own.

    Args:
        alias: a key of ``DATABASES``.
    """

    def __init__(self, alias: str = "default") -> None:
        self.alias = alias
        connection = connections[alias]
        self.skip_locked = bool(connection.features.has_select_for_update_skip_locked)
        self._is_sqlite = connection.vendor == "sqlite"

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Execute]:
        """One transaction.

        Raises:
            OutboxError: the database is away, or refuses a statement.
        """
        connection = connections[self.alias]
        try:
            if not connection.in_atomic_block:
                # After an error: a database that was restarted needs a new connection.
                connection.close_if_unusable_or_obsolete()
            if not self._is_sqlite or connection.in_atomic_block:
                with transaction.atomic(using=self.alias):
                    yield executing(self.alias)
                return
            # SQLite gives the right to write late, and refuses it then, unless it is asked first.
            with connection.cursor() as cursor:
                cursor.execute("BEGIN IMMEDIATE")
                try:
                    yield executing(self.alias)
                except BaseException:
                    cursor.execute("ROLLBACK")
                    raise
                cursor.execute("COMMIT")
        except Error as error:
            raise OutboxError(f"the outbox in Django's database {self.alias!r}: {error}") from error

    def close(self) -> None:
        """Close this thread's connection."""
        connections[self.alias].close()


def executing(alias: str) -> Execute:
    """Statements in the transaction under way."""

    def execute(sql: str, values: Mapping[str, Any]) -> Sequence[Sequence[Any]]:
        with connections[alias].cursor() as cursor:
            cursor.execute(_VALUE.sub(r"%(\1)s", sql), dict(values))
            return cursor.fetchall() if cursor.description else []

    return execute


def open_alias(alias: str) -> DjangoDatabase:
    """The database of a project that this process has not set up yet.

    Raises:
        OutboxError: the project does not say what it must.
    """
    if not os.environ.get("DJANGO_SETTINGS_MODULE"):
        raise OutboxError(
            "expected DJANGO_SETTINGS_MODULE to name the project's settings, got nothing"
        )
    try:
        django.setup()
        if alias not in connections:
            raise OutboxError(
                f"expected one of the databases {', '.join(connections)}, got: {alias!r}"
            )
        if not apps.is_installed("laneway.outbox.django"):
            raise OutboxError(
                "expected 'laneway.outbox.django' in INSTALLED_APPS; add it, and run: python "
                "manage.py migrate laneway_outbox"
            )
        return DjangoDatabase(alias)
    except (ImproperlyConfigured, ModuleNotFoundError) as error:
        raise OutboxError(f"the Django project's settings: {error}") from error
