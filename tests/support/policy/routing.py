"""The policy of the integration tests."""

from laneway import Route

ROUTES = [
    Route("plain.urgent", queue="high", priority=9),
    Route("vault.*", queue="secure"),
]
