"""One module against two connected services: both are rolled back, together with what a test does to their connection."""

from __future__ import annotations

import requests

from pytest_tf import Container


def price(shop: Container) -> requests.Response:
    return requests.get(f"{shop.tunnel(8080).url}/price", timeout=10)


def test_the_shop_asks_its_backend(shop: Container) -> None:
    assert price(shop).text == "3.50\n"


def test_a_new_price(shop: Container, backend: Container) -> None:
    backend.put("/usr/share/nginx/html/price", "9.90\n")
    assert price(shop).text == "9.90\n"


def test_the_old_price_again(shop: Container) -> None:
    assert price(shop).text == "3.50\n"


def test_the_backend_is_gone(shop: Container, backend: Container) -> None:
    backend.run_process("nginx -s quit")
    while (answer := price(shop)).status_code == 200:
        pass  # it ends soon after it has been told to
    assert answer.status_code in (502, 504)


def test_the_shop_forgets_its_backend(shop: Container, backend: Container) -> None:
    shop.run_process("rm /etc/nginx/conf.d/shop.conf && nginx -s reload")
    assert backend.http.get("/price").text == "3.50\n"


def test_all_is_as_before(shop: Container, backend: Container) -> None:
    assert price(shop).text == backend.http.get("/price").text == "3.50\n"
