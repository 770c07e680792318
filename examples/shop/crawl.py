"""Crawling: reads product pages; nobody waits for it, so it goes to ``low``."""

from __future__ import annotations

from html.parser import HTMLParser
from http.client import HTTPConnection
from typing import Final, TypedDict
from urllib.parse import urlsplit

from shop.app import app

#: Seconds that one answer may take.
_TIMEOUT: Final = 10


class PageGone(Exception):
    """The page does not exist: a retry would not help."""


class PageBusy(Exception):
    """The site has no time now."""


class Product(TypedDict):
    """What a product page says."""

    #: The page's title.
    title: str
    #: The price in US cents.
    cents: int
    #: How many other pages it leads to.
    links: int


@app.task(autoretry_for=(PageBusy,), max_retries=3, default_retry_delay=1)
def page(url: str) -> Product:
    """Fetch one product page and read what it offers.

    Raises:
        PageGone: there is no such page.
        PageBusy: the site was still busy after the last retry.
    """
    reader = _Reader()
    reader.feed(_get(url))
    return {"title": reader.title, "cents": reader.cents, "links": reader.links}


def _get(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        raise ValueError(f"expected a URL like http://host/path, got: {url!r}")
    connection = HTTPConnection(parts.hostname, parts.port, timeout=_TIMEOUT)
    try:
        connection.request("GET", parts.path or "/")
        answer = connection.getresponse()
        text = answer.read().decode()
    finally:
        connection.close()
    if answer.status == 503:
        raise PageBusy(f"{parts.path}: 503, busy")
    if answer.status != 200:
        raise PageGone(f"{parts.path}: {answer.status}, {answer.reason}")
    return text


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.title = ""
        self.cents = 0
        self.links = 0
        self._in_title = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._in_title = tag == "title"
        if tag == "a":
            self.links += 1
        if tag == "meta" and (values := dict(attrs)).get("name") == "price":
            self.cents = int(values.get("content") or 0)

    def handle_endtag(self, tag: str) -> None:
        if tag == "title":
            self._in_title = False

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self.title += data
