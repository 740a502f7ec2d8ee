"""The shapes of arguments, of both generations; a wrong one is a `ValueError` before anything is sent."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.sdk.conftest import Connect
from tests.sdk.fake_location import FakeLocation
from tests.sdk.fake_node import FakeNode
from tfcore.errors import BadRequest, BadTag
from tfcore.wire.containers import Limits, Mount, Probe
from tfcore.wire.sessions import VolumeOffer
from tfnz import arguments, ready
from tfnz.location import Location
from tfnz.volume import Volume

VOLUME = VolumeOffer(id="v-" + "1" * 22, node="n-" + "1" * 22, tag="data")
OTHER = VolumeOffer(id="v-" + "2" * 22, node="n-" + "1" * 22)


@pytest.fixture
def node(fake: FakeLocation, tmp_path: Path) -> Any:
    made = FakeNode(fake, tmp_path, hands_over=False)
    fake.volumes = (VOLUME, OTHER)
    yield made
    made.close()


@pytest.fixture
def data(location: Location) -> Volume:
    return location.volume("data")


def spawned(location: Location, node: FakeNode, **options: Any) -> Any:
    """What travels for these arguments."""
    container = location.node().spawn_container("nginx", no_image_check=True, **options)
    return node.wishes[container.uuid].wish


@pytest.mark.parametrize(
    ("name", "given", "travels"),
    [
        ("env", {"A": "1"}, (("A", "1"),)),
        ("env", [("A", "1"), ("B", 2)], (("A", "1"), ("B", "2"))),
        ("env", [["A", "1"]], (("A", "1"),)),
        ("env", {"A": 1.5}, (("A", "1.5"),)),
        ("env", {}, ()),
        ("env", None, ()),
        ("pre_boot_files", {"/a": "text"}, (("/a", b"text"),)),
        ("pre_boot_files", [("/a", b"bytes"), ("//b/./c", bytearray(b"b"))], (("/a", b"bytes"), ("/b/c", b"b"))),
        ("command", ["redis-server", "--port", "7000"], ("redis-server", "--port", "7000")),
        ("command", None, ()),
        ("entrypoint", None, None),
        ("entrypoint", [], ()),
        ("memory", "512m", Limits(memory=512 << 20)),
        ("memory", "1.5g", Limits(memory=3 << 29)),
        ("memory", 1000, Limits(memory=1000)),
        ("memory", "2GiB", Limits(memory=2 << 30)),
        ("cpus", 1.5, Limits(cpus=1.5)),
        ("cpus", 2, Limits(cpus=2.0)),
        ("pids", 100, Limits(pids=100)),
        ("ready", ready.http(8080, "health", host="example"), Probe(kind="http", port=8080, path="/health", host="example")),
        (
            "ready",
            ready.all_of(ready.tcp(1), ready.log("up"), ready.exec("true")),
            Probe(
                kind="all",
                parts=(Probe(kind="tcp", port=1), Probe(kind="log", pattern="up"), Probe(kind="exec", command="true")),
            ),
        ),
        ("ready", ready.running(), Probe(kind="running")),
        ("ready", ready.image(), Probe()),
        ("ready", None, Probe()),
        ("sleep", True, True),
        ("after_boot", "load", "load"),
        ("before_snapshot", "save", "save"),
        ("clean_stop", True, True),
        ("always_roll_back", True, True),
        ("hostname", "db", "db"),
        ("user", "1000:1000", "1000:1000"),
        ("workdir", "/srv", "/srv"),
    ],
)  # fmt: skip
def test_what_travels(location: Location, node: FakeNode, name: str, given: object, travels: object) -> None:
    field = {"memory": "limits", "cpus": "limits", "pids": "limits"}.get(name, name)
    assert getattr(spawned(location, node, **{name: given}), field) == travels


@pytest.mark.parametrize(
    ("name", "given", "says"),
    [
        ("env", "A=1", "not a pair"),
        ("env", ["A=1"], "not a pair"),
        ("env", [("A", "1", "2")], "not a pair"),
        ("env", {1: "1"}, "not a pair"),
        ("env", 5, "not int"),
        ("env", {"A=B": "1"}, "name of an environment variable"),
        ("env", {"": "1"}, "name of an environment variable"),
        ("env", {"A": b"1"}, "variable A is bytes"),
        ("env", {"A": None}, "variable A is NoneType"),
        ("env", {"A": True}, "variable A is bool"),
        ("env", {"A": "x\0y"}, "zero byte"),
        ("pre_boot_files", {"a": "x"}, "not an absolute path"),
        ("pre_boot_files", {"/a/../../b": "x"}, "leads outside"),
        ("pre_boot_files", {"/a\0b": "x"}, "not an absolute path"),
        ("pre_boot_files", {"/a": 5}, "neither text nor bytes"),
        ("pre_boot_files", ["/a"], "not a pair"),
        ("command", "nginx -g x", "list of strings"),
        ("command", b"nginx", "list of strings"),
        ("command", [1], "list of strings"),
        ("command", 5, "list of strings"),
        ("entrypoint", "sh", "list of strings"),
        ("memory", "much", "not a size"),
        ("memory", -1, "not a size"),
        ("memory", True, "not a size"),
        ("cpus", 0, "number of cores"),
        ("cpus", "1", "number of cores"),
        ("cpus", True, "number of cores"),
        ("pids", 0, "number of processes"),
        ("pids", 1.5, "number of processes"),
        ("ready", 80, "not a probe"),
        ("ready", "tcp", "not a probe"),
        ("hostname", "not a name", "hostname"),
        ("hostname", 5, "hostname"),
        ("user", 5, "user"),
        ("after_boot", ["true"], "after_boot"),
        ("tag", "Not A Tag", "cannot be a tag"),
        ("volumes", ["/data"], "list of .Volume, path. pairs"),
        ("volumes", [("/data", "volume")], "list of .Volume, path. pairs"),
    ],
)
def test_wrong_shapes(location: Location, fake: FakeLocation, name: str, given: object, says: str) -> None:
    asked = fake.served.total()
    with pytest.raises(ValueError, match=says):
        location.node().spawn_container("nginx", **{name: given})
    assert fake.served.total() == asked


def test_the_first_generations_order_of_arguments(location: Location, node: FakeNode) -> None:
    container = location.best_node().spawn("nginx", {"A": "1"}, True, {"/a": "x"}, no_image_check=True)
    wish = node.wishes[container.uuid].wish
    assert (wish.env, wish.sleep, wish.pre_boot_files) == ((("A", "1"),), True, (("/a", b"x"),))


def test_an_image_that_is_not_text(location: Location, fake: FakeLocation) -> None:
    with pytest.raises(BadRequest):
        location.node().spawn_container(5)  # type: ignore[arg-type]
    assert set(fake.served) == {"session.open"}


def test_volumes_in_both_shapes(location: Location, node: FakeNode, data: Volume) -> None:
    travels = (Mount(volume=VOLUME.id, path="/data"),)
    assert spawned(location, node, volumes=[(data, "/data")]).mounts == travels
    assert spawned(location, node, volumes={"/data/": data}).mounts == travels
    assert spawned(location, node, volumes=()).mounts == ()


@pytest.mark.parametrize(
    ("one", "two"), [("/data", "/data"), ("/data", "/data/inner"), ("/data/inner", "/data"), ("/a-b", "/a-b/c")]
)
def test_mount_points_that_overlap(location: Location, data: Volume, one: str, two: str) -> None:
    other = location.volumes[OTHER.id]
    with pytest.raises(BadRequest, match="overlap"):
        location.node().spawn_container("nginx", volumes=[(data, one), (other, two)])


def test_mount_points_side_by_side(location: Location, node: FakeNode, data: Volume) -> None:
    other = location.volumes[OTHER.id]
    assert len(spawned(location, node, volumes=[(data, "/a"), (other, "/a-b")]).mounts) == 2


def test_a_volume_on_the_root(location: Location, data: Volume) -> None:
    with pytest.raises(BadRequest, match="cannot be mounted on /"):
        location.node().spawn_container("nginx", volumes=[(data, "/")])


@pytest.mark.parametrize("tag", ["Upper", "white space", "v-" + "1" * 22, "x" * 65])
def test_what_is_no_tag(location: Location, fake: FakeLocation, tag: str) -> None:
    with pytest.raises(BadTag):
        location.node().create_volume(tag=tag)
    assert set(fake.served) == {"session.open"}


@pytest.mark.parametrize("path", ["relative", "", "/a/../b", "/..", "/a\0", 5, None])
def test_paths_that_lead_outside(path: Any) -> None:
    with pytest.raises(BadRequest):
        arguments.inside(path)


@pytest.mark.parametrize(
    ("path", "plain"), [("/", "/"), ("//etc//x/", "/etc/x"), ("/./a", "/a"), ("/..a", "/..a"), ("/a..", "/a..")]
)
def test_paths_are_made_plain(path: str, plain: str) -> None:
    assert arguments.inside(path) == plain


@pytest.mark.parametrize("probe", [ready.tcp, ready.http])
@pytest.mark.parametrize("port", [0, 65536, "80", True, None])
def test_probes_of_what_is_no_port(probe: Any, port: object) -> None:
    with pytest.raises(BadRequest, match="is not a port"):
        probe(port)


@pytest.mark.parametrize(
    "make",
    [
        lambda: ready.exec(""),
        lambda: ready.exec(["true"]),  # type: ignore[arg-type]
        lambda: ready.log("("),
        ready.all_of,
        lambda: ready.all_of(1),  # type: ignore[arg-type]
    ],
)
def test_probes_that_make_no_sense(make: Callable[[], object]) -> None:
    with pytest.raises(BadRequest):
        make()


def test_an_address_is_text_and_call() -> None:
    address = arguments.Address("10.0.0.1")
    assert address == address() == "10.0.0.1"


def test_logging_switches(connect: Connect, fake: FakeLocation) -> None:
    with pytest.raises(BadRequest, match="exclude each other"):
        connect(fake, quiet=True, debug_log=True)
    assert not fake.hellos
