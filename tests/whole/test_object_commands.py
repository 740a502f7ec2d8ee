"""`tf cache`, `describe`, `volumes`, `resources` and their names of old, at a real location."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemons import PrivateLocation
from tests.support.line import private_location, sleeper
from tests.support.typed import Typed
from tfnz.location import Location

pytestmark = pytest.mark.leaks("module")


@pytest.fixture(scope="module")
def place() -> Iterator[PrivateLocation]:
    with private_location() as made:
        yield made


@pytest.fixture
def tf(place: PrivateLocation, tmp_path: Path) -> Typed:
    return Typed(place, tmp_path)


def test_an_image_is_cached_listed_described_and_let_go(tf: Typed, tiny: str) -> None:
    done = tf("cache", "--name", "tiny", tiny)
    assert (done.stdout, done.stderr) == ("", "tiny is in the cache of local: 1 layer\n")
    assert tf("tfcache", "-q", "--name", "tiny", tiny).stderr == ""
    head, line = tf("cache", "--list").stdout.splitlines()
    assert head.split() == ["NAME", "ID", "SIZE", "LAYERS"]
    assert line.split()[0] == "tiny:latest"
    (listed,) = json.loads(tf("tfcache", "--list", "--json").stdout)
    assert (listed["name"], listed["layers"]) == ("tiny:latest", 1)
    described = json.loads(tf("describe", "tiny").stdout)
    assert described["config"]["rootfs"]["diff_ids"] == [layer["diff_id"] for layer in described["layers"]]
    both = json.loads(tf("tfdescribe", "tiny", listed["id"]).stdout)
    assert [one["config"] for one in both] == [described["config"]] * 2
    tf("cache", "--remove", "tiny")
    assert json.loads(tf("cache", "--list", "--json").stdout) == []
    assert "tf cache tiny uploads it" in tf("describe", "tiny", status=7).stderr


def test_cache_says_how_it_is_used(tf: Typed) -> None:
    for words in ((), ("--list", "nginx"), ("--name", "x", "one", "two")):
        assert "usage: tf cache" in tf("cache", *words, status=2).stderr


def test_volumes_are_made_listed_and_destroyed(tf: Typed, location: Location) -> None:
    assert "usage: tfvolumes" in tf("tfvolumes", status=2).stderr, "blank prints help"
    first = tf("volumes", "create", "shop-data").stdout.strip()
    second = tf("tfvolumes", "create", "--sync", "--node", location.node().name).stdout.strip()
    head, *lines = tf("tfvolumes", "list").stdout.splitlines()
    assert head.split() == ["ID", "TAG", "NODE"]
    node = location.node().name
    assert [line.split() for line in lines] == [[second, "-", node], [first, "shop-data", node]]
    assert tf("volumes", "list", "-q").stdout.split() == [second, first]
    listed = json.loads(tf("volumes", "list", "--json").stdout)
    assert {"id": first, "tag": "shop-data", "node": node} in listed
    assert "nobody" in tf("volumes", "destroy", "shop-data", "nobody", status=1).stderr
    assert set(location.volumes) == {first, second}, "all are looked up before one goes"
    assert "no node 'rack9'" in tf("volumes", "create", "--node", "rack9", status=1).stderr
    tf("volumes", "destroy", "shop-data", second)
    assert tf("volumes", "list", "-q").stdout == ""


def test_a_mounted_volume_is_not_destroyed(tf: Typed, location: Location, tiny: str) -> None:
    volume = location.node().create_volume(tag="in-use")
    container = sleeper(location, tiny, volumes=[(volume, "/data")])
    assert container.uuid in tf("volumes", "destroy", "in-use", status=1).stderr
    container.destroy()
    tf("volumes", "destroy", f"{volume.uuid}:in-use")


def test_resources_are_what_is_offered(tf: Typed, location: Location, tiny: str) -> None:
    web = sleeper(location, tiny, tag="web")
    volume = location.node().create_volume(tag="seen")
    found = json.loads(tf("tfresources").stdout)
    assert (found["location"], found["account"]) == ("local", "local")
    (node,) = found["nodes"]
    assert (node["name"], node["cores"] > 0, node["memory_total"] > node["memory"] > 0) == (
        location.node().name,
        True,
        True,
    )
    assert found["volumes"] == [{"id": volume.uuid, "tag": "seen", "persistent": True, "node": volume.node.pk}]
    assert found["externals"] == [{"id": web.uuid, "tag": "web", "address": str(web.ip), "node": web.node.pk}]
    volume.destroy()


def test_a_location_that_cannot_be_reached(tf: Typed) -> None:
    assert "no account for location 'nowhere.test'" in tf("ps", "--location", "nowhere.test", status=5).stderr
