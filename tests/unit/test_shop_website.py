from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from shop.crawl import PageBusy, PageGone, page
from shop.website import PRODUCTS, Website, is_busy_once, is_gone

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def site() -> Iterator[Website]:
    with Website() as site:
        yield site


def test_a_page_is_read(site: Website) -> None:
    assert page(f"{site.url}/products/1") == {"title": "CD 1", "cents": 899, "links": 3}


@pytest.mark.parametrize(
    "path", ["/products/37", "/products/0", "/", "/products/x", "/products/%B2"]
)
def test_a_page_that_is_gone(site: Website, path: str) -> None:
    with pytest.raises(PageGone, match="404"):
        page(f"{site.url}{path}")


def test_a_busy_page_answers_the_second_time(site: Website) -> None:
    with pytest.raises(PageBusy, match="503"):
        page.__wrapped__(f"{site.url}/products/11")
    assert page.__wrapped__(f"{site.url}/products/11")["title"] == "CD 11"


def test_a_busy_page_is_retried(site: Website) -> None:
    assert page.apply([f"{site.url}/products/22"]).get()["title"] == "CD 22"


@pytest.mark.parametrize("url", ["file:///etc/passwd", "https://shop.example/", "http:///x", "x"])
def test_only_http_is_crawled(url: str) -> None:
    with pytest.raises(ValueError, match="expected a URL like http://host/path"):
        page(url)


def test_it_listens_on_this_machine_only_and_ends() -> None:
    with Website() as site:
        assert site.url.startswith("http://127.0.0.1:")
    with pytest.raises(ConnectionRefusedError):
        page(f"{site.url}/products/1")


def test_some_pages_are_gone_and_some_are_busy() -> None:
    products = range(1, PRODUCTS + 1)
    assert 0 < sum(map(is_gone, products)) < PRODUCTS / 10
    assert 0 < sum(map(is_busy_once, products)) < PRODUCTS / 5
    assert is_gone(PRODUCTS + 1)
