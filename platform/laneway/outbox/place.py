"""Where an outbox is, said in one text: ``LANEWAY_OUTBOX_URL``."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

from laneway.errors import OutboxError
from laneway.outbox.sqlite import SQLiteDatabase
from laneway.outbox.store import Store

if TYPE_CHECKING:
    from laneway.outbox.database import Database

_EXPECTED: Final = (
    "expected sqlite:///shop.db (a spool, or a SQLite database), django:default (the database "
    "'default' of the project that DJANGO_SETTINGS_MODULE names), or a database URL of SQLAlchemy "
    "like postgresql+psycopg://user:password@host/shop"
)
_SQLITE: Final = "sqlite:///"
_DJANGO: Final = "django:"


def open_store(url: str) -> Store:
    """The outbox at a place.

    Args:
        url: ``sqlite:///relative.db`` or ``sqlite:////absolute.db``; ``django:ALIAS``; or any other
            database URL of SQLAlchemy.

    Raises:
        OutboxError: there is no such place, or what leads there is not installed.
    """
    return Store(open_database(url))


def open_database(url: str) -> Database:
    """The database at a place; see :func:`open_store`.

    Raises:
        OutboxError: there is no such place, or what leads there is not installed.
    """
    if url.startswith(_SQLITE):
        return SQLiteDatabase(url.removeprefix(_SQLITE))
    if url.startswith(_DJANGO):
        module = _extra("django")
        return _as_database(module.open_alias(url.removeprefix(_DJANGO)))
    if "://" not in url:
        raise OutboxError(f"{_EXPECTED}, got: {url!r}")
    return _as_database(_extra("sqlalchemy").open_url(url))


def create(url: str) -> None:
    """Make the table where it is missing.

    Raises:
        OutboxError: it cannot be made; Django's is made by its migrations.
    """
    if url.startswith(_DJANGO):
        raise OutboxError("Django makes the table: add 'laneway.outbox.django' to INSTALLED_APPS "
                          "and run: python manage.py migrate laneway_outbox")  # fmt: skip
    database: Any = open_database(url)
    database.create()
    database.close()


def _as_database(database: Any) -> Database:
    return database  # type: ignore[no-any-return]


def _extra(name: str) -> Any:
    """A module of ours that needs an extra."""
    place = {"django": "laneway.outbox.django.database", "sqlalchemy": "laneway.outbox.sqlalchemy"}
    try:
        return importlib.import_module(place[name])
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise OutboxError(f"this outbox needs {name}: pip install 'laneway[{name}]'") from error
