"""Tests that deface the site, delete it and kill its server. None of them cleans up, and their order does not matter."""

from __future__ import annotations

import pytest
import requests

from pytest_tf import Container

INDEX = "/usr/share/nginx/html/index.html"


def test_the_page_is_there(site: Container) -> None:
    assert "Bakery" in site.http.get("/").text


@pytest.mark.parametrize("word", ["Casino", "Pharmacy", "Lottery"])
def test_somebody_defaces_it(site: Container, word: str) -> None:
    assert "Bakery" in site.http.get("/").text
    site.put(INDEX, f"<h1>{word}</h1>\n")
    assert word in site.http.get("/").text


def test_somebody_deletes_everything(site: Container) -> None:
    assert site.run_process("rm -r /usr/share/nginx/html").exit_code == 0
    assert site.http.get("/").status_code == 404


def test_a_new_page_is_only_there_for_its_own_test(site: Container) -> None:
    assert site.http.get("/offers.html").status_code == 404
    site.put("/usr/share/nginx/html/offers.html", "Bread\n")
    assert site.http.get("/offers.html").text == "Bread\n"


def test_the_configuration_can_be_changed(site: Container) -> None:
    site.put("/etc/nginx/conf.d/teapot.conf", "server { listen 81; return 418; }\n")
    assert site.run_process("nginx -s reload").exit_code == 0
    site.wait_tcp(81)


@pytest.fixture(scope="session")
def url(site: Container) -> str:
    """Where the site is from here: asked once, for all tests."""
    return site.tunnel(80).url


@pytest.mark.parametrize("visit", [1, 2, 3])
def test_its_address_stays_the_same(url: str, visit: int) -> None:
    """Clients may keep it: a rollback changes neither address nor local port."""
    assert "Bakery" in requests.get(url, timeout=10).text
