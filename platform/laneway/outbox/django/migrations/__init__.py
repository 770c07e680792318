"""Django's migrations of the outbox's table."""

__all__ = []
