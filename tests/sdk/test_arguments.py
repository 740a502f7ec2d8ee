"""Arguments in the shapes of both generations of the SDK, and every wrong shape refused before anything is sent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.sdk.conftest import Connect
from tests.sdk.fake_location import FakeLocation
from tfcore.errors import BadRequest, BadTag, Internal
from tfcore.rpc.dispatcher import Call
from tfcore.wire.containers import SpawnContainer
from tfcore.wire.images import FindImage, OfferImage
from tfcore.wire.message import Reply, op_of
from tfcore.wire.sessions import NodeOffer, VolumeOffer
from tfcore.wire.volumes import CreateVolume
from tfnz import arguments, ready
from tfnz.arguments import Address
from tfnz.node import Node

NODE = NodeOffer(id="n-" + "1" * 22, name="one", cpu=0.5, memory=1 << 30, memory_total=2 << 30)
VOLUME = VolumeOffer(id="v-" + "1" * 22, node=NODE.id, tag="data", persistent=True)
OTHER = VolumeOffer(id="v-" + "2" * 22, node=NODE.id, tag="more", persistent=True)


# both generations


@pytest.mark.parametrize("given", [{"A": "1", "B": "x=y"}, [("A", "1"), ("B", "x=y")], (["A", 1], ["B", "x=y"])])
def test_an_environment_is_a_dict_or_pairs(given: Any) -> None:
    assert arguments.environment(given) == (("A", "1"), ("B", "x=y"))


def test_numbers_are_written_out() -> None:
    assert arguments.environment({"PORT": 80, "RATIO": 0.5}) == (("PORT", "80"), ("RATIO", "0.5"))


def test_an_iterator_of_pairs_is_read_once() -> None:
    assert arguments.environment((name, "1") for name in "AB") == (("A", "1"), ("B", "1"))


@pytest.mark.parametrize("content", ["Hallo Wörld", "Hallo Wörld".encode(), bytearray("Hallo Wörld".encode())])
def test_files_are_text_or_bytes(content: Any) -> None:
    wanted = (("/a/b", "Hallo Wörld".encode()),)
    assert arguments.files({"/a/b": content}) == wanted
    assert arguments.files([("/a/b", content)]) == wanted


@pytest.mark.parametrize("reader", [arguments.environment, arguments.files])
@pytest.mark.parametrize("nothing", [None, {}, [], ()])
def test_nothing_is_nothing(reader: Any, nothing: Any) -> None:
    assert reader(nothing) == ()


# wrong shapes


@pytest.mark.parametrize(
    "given",
    [
        "A=1",
        5,
        ["A=1"],
        [("A",)],
        [("A", "1", "2")],
        [(1, "x")],
        {"A": None},
        {"A": True},
        {"A": b"x"},
        {"A": ["x"]},
        {"": "x"},
        {"A=B": "x"},
        {"A\0": "x"},
        {"A": "x\0y"},
    ],
)
def test_an_environment_of_another_shape(given: Any) -> None:
    with pytest.raises(ValueError):
        arguments.environment(given)


@pytest.mark.parametrize(
    "given",
    [
        "/a",
        b"/a",
        7,
        ["/a"],
        [("/a", None)],
        {"/a": 5},
        {"/a": ["line"]},
        {"a": "relative"},
        {"": "empty"},
        {"/a\0b": ""},
        {"/../a": "out"},
        {"/a/../../b": "out"},
        {"/a/..": "out"},
    ],
)
def test_files_of_another_shape(given: Any) -> None:
    with pytest.raises(ValueError):
        arguments.files(given)


@pytest.mark.parametrize("given", ["redis-server --port 7000", b"sleep", 5, ["sleep", 5], [b"sleep"], [None]])
def test_a_command_is_a_list_of_strings(given: Any) -> None:
    with pytest.raises(ValueError, match="command is a list of strings"):
        arguments.words(given, what="command")


def test_commands() -> None:
    assert arguments.words(None, what="command") == ()
    assert arguments.words(["sleep", "5"], what="command") == ("sleep", "5")


# sizes, ports, paths


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (None, 0),
        (0, 0),
        (536870912, 512 << 20),
        ("536870912", 512 << 20),
        ("512m", 512 << 20),
        ("512M", 512 << 20),
        ("512MiB", 512 << 20),
        ("512 mb", 512 << 20),
        ("1.5g", 3 << 29),
        ("2k", 2048),
        ("1t", 1 << 40),
        ("100b", 100),
    ],
)
def test_sizes(given: Any, wanted: int) -> None:
    assert arguments.size(given, what="memory") == wanted


@pytest.mark.parametrize("given", [True, False, -1, "-1", "", "m", "lots", "5 x", "1e9", 1.5, b"512m", [512], "1g 1m"])
def test_what_is_no_size(given: Any) -> None:
    with pytest.raises(ValueError, match=r"memory=.* is not a size"):
        arguments.size(given, what="memory")


@pytest.mark.parametrize("given", [1, 80, 65535])
def test_ports(given: int) -> None:
    assert arguments.port(given) == given


@pytest.mark.parametrize("given", [0, -1, 65536, True, "80", 80.0, None])
def test_what_is_no_port(given: Any) -> None:
    with pytest.raises(ValueError, match="not a port"):
        arguments.port(given)


@pytest.mark.parametrize(
    ("given", "wanted"), [("/", "/"), ("/a", "/a"), ("//a//b/", "/a/b"), ("/a/./b", "/a/b"), ("/a/..b", "/a/..b")]
)
def test_paths_are_brought_into_one_form(given: str, wanted: str) -> None:
    assert arguments.inside(given) == wanted


@pytest.mark.parametrize("given", ["", "a", "./a", "../a", "/..", "/../a", "/a/../b", "/a\0", None, 5, b"/a"])
def test_paths_outside(given: Any) -> None:
    with pytest.raises(ValueError):
        arguments.inside(given)


@pytest.mark.parametrize("paths", [[], ["/a"], ["/a", "/b"], ["/a", "/ab"], ["/a-b", "/a", "/a.c"], ["/a/b", "/a/c"]])
def test_mounts_beside_each_other(paths: list[str]) -> None:
    arguments.mounts_apart(paths)


@pytest.mark.parametrize(
    "paths",
    [
        ["/"],
        ["/a", "/a"],
        ["/a", "/a/b"],
        ["/a/b/c", "/a"],
        ["/a", "/a-b", "/a/b"],
        ["/", "/a"],
        ["/a/b", "/a", "/a.c"],
    ],
)
def test_mounts_in_each_other(paths: list[str]) -> None:
    with pytest.raises(ValueError, match=r"overlap|mounted on /"):
        arguments.mounts_apart(paths)


def test_an_address_may_be_called() -> None:
    """`.ip` is a property in one generation and a method in the other."""
    address = Address("10.0.0.1")
    assert address == address() == "10.0.0.1"
    assert type(address()) is str


# nothing is sent


async def _refuse(_call: Call, message: Any) -> Reply:
    raise AssertionError(f"this should not have been sent: {message}")


@pytest.fixture
def node(fake: FakeLocation, connect: Connect) -> Iterator[Node]:
    """A node of a location that must not be asked for anything."""
    fake.nodes, fake.volumes = (NODE,), (VOLUME, OTHER)
    asked = (FindImage, OfferImage, SpawnContainer, CreateVolume)
    fake.handlers = dict.fromkeys(asked, _refuse)
    yield connect(fake).node()
    assert [op for op in map(op_of, asked) if fake.served[op]] == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"env": "A=1"},
        {"env": [("A", None)]},
        {"pre_boot_files": {"relative": "x"}},
        {"pre_boot_files": [("/a/../b", b"x")]},
        {"command": "sleep 5"},
        {"entrypoint": "sh"},
        {"memory": "lots"},
        {"memory": -1},
        {"cpus": 0},
        {"cpus": "two"},
        {"cpus": True},
        {"pids": 0},
        {"pids": 1.5},
        {"ready": 80},
        {"ready": "tcp"},
        {"volumes": "data"},
        {"volumes": [("data", "/data")]},
        {"volumes": {"/data": "data"}},
        {"tag": "Not A Tag"},
        {"tag": NODE.id},
        {"hostname": 5},
        {"user": 5},
        {"workdir": ["/"]},
        {"before_snapshot": ["sync"]},
    ],
    ids=str,
)
def test_a_wrong_shape_is_refused_before_anything_is_sent(node: Node, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        node.spawn_container("nginx", **wrong)


@pytest.mark.parametrize("image", [5, None, b"nginx", "", "Nginx", "oci:", "https://example.org/nginx", "a b"])
def test_what_names_no_image(node: Node, image: Any) -> None:
    with pytest.raises(ValueError):
        node.spawn_container(image)


def test_overlapping_mounts_are_refused(node: Node) -> None:
    one, two = node.location.volume("data"), node.location.volume("more")
    with pytest.raises(BadRequest, match="overlap"):
        node.spawn_container("nginx", volumes=[(one, "/data"), (two, "/data/more")])
    with pytest.raises(BadRequest, match="mounted on /"):
        node.spawn_container("nginx", volumes={"/": one})


def test_what_is_asked_for_would_be_noticed(fake: FakeLocation, connect: Connect) -> None:
    """The tests above can fail: a right call is counted."""
    fake.nodes, fake.handlers = (NODE,), {FindImage: _refuse}
    with pytest.raises(Internal):
        connect(fake).node().spawn_container("nginx")
    assert fake.served[op_of(FindImage)]


def test_a_tag_of_a_volume_is_checked(node: Node) -> None:
    with pytest.raises(BadTag, match="0-9 a-z"):
        node.create_volume(tag="Data Base")


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: ready.tcp(0),
        lambda: ready.http("80"),
        lambda: ready.exec(""),
        lambda: ready.exec(["true"]),
        lambda: ready.log("("),
        lambda: ready.all_of(),
        lambda: ready.all_of(80),
    ],
)
def test_probes_of_another_shape(wrong: Any) -> None:
    with pytest.raises(ValueError):
        wrong()
