"""The policy of the tests of what is reported."""

from laneway import Route

ROUTES = [
    Route("vault.*", queue="secure"),
]
