"""The local location of a user who is not root: examples, tests of the whole line and the drivers' suites, run by one.

The account is made for it. What a test like these leaves of the user is looked for as root.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator

import pytest

from tests.support import example_images
from tests.support.accounts import User, ordinary_user, passed
from tests.support.daemons import until

pytestmark = pytest.mark.timeout(400)
"""A run of pytest in each."""

PYTEST = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q")

STARTS_ONE = """
import sys
from tfnz import local
from tfnz.location import Location
with Location("local", quiet=True) as location:
    container = location.node().spawn_container(sys.argv[1]).wait_until_ready()
    assert container.http.get("/").status_code == 200
    print(local.running(local.run_directory(local.state_directory())).pid, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(scope="module")
def images() -> dict[str, str]:
    return {"TF_EXAMPLE_IMAGES": str(example_images.directory())}


@pytest.fixture(scope="module")
def user() -> Iterator[User]:
    with ordinary_user() as made:
        check = made.run("tf-node", "check", "--root", str(made.home))
        if check.returncode != 0:
            pytest.skip(check.stdout.splitlines()[-1])
        yield made


def test_the_demo(user: User, images: dict[str, str]) -> None:
    said = passed(user.run(*PYTEST, "examples", "--tf-location=local", **images))
    assert "35 passed" in said
    assert "rollbacks (" in said


def test_the_whole_line(user: User, images: dict[str, str]) -> None:
    """Some of the sharpest tests, as they are, but run by this user."""
    spares = ("stands_still_and_nobody", "agent_dies_while_one", "swaps_it_in")
    passed(user.run(*PYTEST, "tests/whole/test_spares.py", "-k", " or ".join(spares), **images))


def test_as_root_of_the_users_namespace(user: User) -> None:
    """What takes root to look at, and the suites that drivers are held to, where an ordinary user's node is root."""
    whole = "TestEverything and overlay or forged_source or leave_holds"
    passed(user.run(*PYTEST, "tests/whole/test_rollback.py", "tests/whole/test_network.py", "-k", whole, root=True))


@pytest.mark.parametrize(
    ("suite", "some"),
    [
        ("test_network_wayout.py", ""),
        ("test_network_linux.py", "TestLinux and not leave_nothing and not United and not Switch"),
        ("test_runtime_crun.py", "TestCrun and not Cgroups and not VersionTwo"),
        ("test_storage_overlay.py", "brings or opaque or seals_on_seals"),
    ],
)
def test_drivers_keep_their_promises(user: User, suite: str, some: str) -> None:
    said = passed(user.run(*PYTEST, f"tests/conformance/{suite}", "-k", some, root=True))
    assert " passed" in said


def test_nothing_is_left_of_a_location_that_is_killed(user: User, images: dict[str, str]) -> None:
    with user.popen(sys.executable, "-c", STARTS_ONE, example_images.reference("nginx"), **images) as running:
        assert running.stdout is not None
        location = int(running.stdout.readline())
        running.kill()
        os.kill(location, signal.SIGKILL)
    until(lambda: not user.processes(), "the end of all that has been of the location")


def test_what_a_node_has_kept_can_be_erased(user: User, images: dict[str, str]) -> None:
    demo = (*PYTEST, "examples/static_site", "--tf-location=local")
    passed(user.run(*demo, **images))
    until(lambda: not user.processes(), "the end of the idle location")
    node = user.home / ".cache/pytest-tf/local/node"
    assert [path for path in node.rglob("*") if path.lstat().st_uid != user.uid]
    assert user.run("tf-node", "erase", "--root", str(node)).stdout == f"nothing of containers is left in {node}\n"
    assert not [path for path in node.rglob("*") if path.lstat().st_uid != user.uid]
    passed(user.run(*demo, **images))
    assert "is no node's directory" in user.run("tf-node", "erase", "--root", str(user.home)).stderr


WITH_ONE_ID = """
import sys
from tfcore.errors import ContainerDied
from tfnz import ready
from tfnz.location import Location
nginx, redis, postgres = sys.argv[1:]
AS_ROOT = "sed -i 's/^user .*/user root;/' /etc/nginx/nginx.conf; exec nginx -g 'daemon off;'"
with Location("local", quiet=True) as location:
    node = location.node()
    web = node.spawn_container(nginx, command=["sh", "-c", AS_ROOT], ready=ready.http(80)).wait_until_ready()
    web.snapshot("then")
    assert web.run_process("rm /etc/nginx/nginx.conf; touch /x && chown 33:33 /x").exit_code == 0
    web.rollback("then")
    assert web.http.get("/").status_code == 200
    store = node.spawn_container(redis, ready=ready.tcp(6379)).wait_until_ready()
    print(*store.startup_notes, sep="\\n")
    try:
        node.spawn_container(postgres).wait_until_ready()
    except ContainerDied as died:
        print(died)
"""


def test_with_one_id_what_can_run_does_and_the_rest_says_why(images: dict[str, str]) -> None:
    names = [example_images.reference(name) for name in ("nginx", "redis", "postgres")]
    with ordinary_user(subordinate="") as user:
        done = user.run(sys.executable, "-c", WITH_ONE_ID, *names, **images)
        assert done.returncode == 0, done
    assert "it runs as root instead of user" in done.stdout
    assert "This user has no subordinate ids: in containers everything is root's" in done.stdout
    assert "setpriv: setresuid failed: Invalid argument" in done.stdout
