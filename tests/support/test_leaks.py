"""The leak check itself: pytest runs inside namespaces of its own, with tests that leave every kind of thing behind."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from itertools import takewhile
from pathlib import Path

import pytest

from tests.support.leaks import LEFT_BEHIND

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts and namespaces of its own need root")

ALONE = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-ec"]
MACHINE = """
mount -t sysfs sysfs /sys
mount -t tmpfs cgroups /sys/fs/cgroup
mount -t tmpfs run /run
"$@"
"""
CONFTEST = """
import tests.support.leaks
from tests.support.leaks import *
tests.support.leaks.GRACE = 0.3
"""
Run = Callable[..., str]


def in_machine(directory: Path, source: str, *options: str, variables: dict[str, str] | None = None) -> str:
    """Run pytest on a test file in a machine of its own; what it leaves behind goes with that machine."""
    (directory / "conftest.py").write_text(CONFTEST)
    without = " ".join(f"-p no:{name}" for name in ("tf", "cacheprovider", "randomly", "asyncio", "rerunfailures"))
    (directory / "pytest.ini").write_text(f"[pytest]\naddopts = {without} -rA --basetemp=base\n")
    (directory / "test_it.py").write_text(source)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("TF_", "PYTEST_"))}
    environment |= variables or {}
    # the shell stays, as pid 1, which waits for orphans
    argv = [*ALONE, MACHINE, "sh", sys.executable, "-m", "pytest", *options]
    done = subprocess.run(argv, capture_output=True, text=True, env=environment, cwd=directory)
    return f"{done.stdout}{done.stderr}\nstatus {done.returncode}\n"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return partial(in_machine, tmp_path)


LEAVING = {
    "process": ("subprocess.Popen(['sleep', '1000'])", "process: ", "sleep 1000"),
    "orphan": ("subprocess.run('sleep 1000 & sleep 1001 &', shell=True)", "process: ", "sleep 1001"),
    "orphan of a daemon": (
        "subprocess.run('exec -a crun sleep 1000 & :', shell=True, executable='bash', env={})",
        "orphaned daemon: ",
        "crun 1000",
    ),
    "zombie": ("kept.append(subprocess.Popen(['true']))", "process: ", "(ended, but nobody waited for it)"),
    "thread": (
        "threading.Thread(target=threading.Event().wait, name='forgotten', daemon=True).start()",
        "thread: forgotten",
        "",
    ),
    "descriptor": ("kept.append(open('/etc/passwd'))", "descriptor: ", "-> /etc/passwd"),
    "second descriptor": ("os.dup(1), os.dup(1)", "descriptor: ", ""),
    "socket": ("kept.append(socket.socket())", "descriptor: ", "-> socket:["),
    "mount": (
        "subprocess.run(['mount', '-t', 'tmpfs', 'x', tmp_path], check=True)",
        "mount: tmpfs on ",
        "test_8",
    ),
    "named namespace": ("subprocess.run('ip netns add left', shell=True)", "named network namespace: left", ""),
    "link": ("subprocess.run('ip link add left0 type veth peer left1', shell=True)", "network link: left1", ""),
    "rules": ("subprocess.run('nft add table inet left', shell=True)", "table of firewall rules: inet left", ""),
    "control group": ("os.mkdir('/sys/fs/cgroup/pytest-tf-left')", "control group: ", "cgroup/pytest-tf-left"),
}


@pytest.fixture(scope="module")
def said_of_all(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What is said of a run in which every other test leaves something behind."""
    source = "import os, socket, subprocess, threading\nkept = []\ndef test_before(): pass\n"
    for number, (statement, _, _) in enumerate(LEAVING.values()):
        source += f"def test_{number}(tmp_path): {statement}\ndef test_after_{number}(): pass\n"
    return in_machine(tmp_path_factory.mktemp("leaving"), source)


def test_only_those_who_left_something_are_blamed(said_of_all: str) -> None:
    assert f"{2 * len(LEAVING) + 1} passed, {len(LEAVING)} errors" in said_of_all, said_of_all


@pytest.mark.parametrize("number", range(len(LEAVING)), ids=LEAVING)
def test_what_is_left_is_named_and_blamed_on_the_test(said_of_all: str, number: int) -> None:
    _, kind, words = list(LEAVING.values())[number]
    _, _, blamed = said_of_all.partition(f"\ntest_it.py::test_{number} left behind (waited 0.3 s for it to go away):\n")
    named = list(takewhile(lambda line: line.startswith("  "), blamed.splitlines()))
    assert any(line.startswith(f"  {kind}") and words in line for line in named), said_of_all


def test_a_loop_device_is_found(run: Run, tmp_path: Path) -> None:
    backing = tmp_path / "disk"
    backing.write_bytes(bytes(1 << 20))
    said = run(f"import subprocess\ndef test_it(): subprocess.run(['losetup', '-f', '{backing}'], check=True)\n")
    for line in subprocess.run(
        ["losetup", "-j", backing], capture_output=True, text=True, check=True
    ).stdout.splitlines():
        subprocess.run(["losetup", "-d", line.partition(":")[0]], check=True)
    assert "1 passed, 1 error" in said, said
    assert f"loop device: /dev/loop{said.partition('/dev/loop')[2][:1]}" in said


def test_what_goes_away_in_a_moment_is_waited_for(run: Run) -> None:
    source = "import subprocess, threading, gc\n"
    source += "def test_a(): threading.Timer(0.1, int).start()\n"
    source += "def test_b(): subprocess.Popen('sleep 0.1 & true', shell=True).wait()\n"
    source += "def test_c():\n    gc.disable()\n    a = [open('/etc/passwd')]\n    a.append(a)\n"
    assert "3 passed in" in run(source, "-W", "ignore")


SHARED = """
import threading, pytest
@pytest.fixture(scope="{scope}")
def daemon():
    go = threading.Event()
    thread = threading.Thread(target=go.wait, name="the daemon")
    thread.start()
    yield
    go.set()
    thread.join()
@pytest.mark.leaks("{marked}")
class TestIt:
    def test_first(self, daemon): pass
    def test_second(self, daemon): pass
@pytest.mark.leaks("{marked}")
def test_third(): pass
"""


@pytest.mark.parametrize(("scope", "errors"), [("class", 0), ("module", 1), ("session", 1)])
def test_the_marker_widens_the_scope(run: Run, scope: str, errors: int) -> None:
    assert "3 passed in" in run(SHARED.format(scope=scope, marked=scope))
    unmarked = run(SHARED.format(scope=scope, marked="function"))
    assert "3 passed, 1 error" in unmarked
    assert "thread: the daemon" in unmarked
    assert errors == ("3 passed, 1 error" in run(SHARED.format(scope=scope, marked="class")))


def test_what_a_module_leaves_is_blamed_on_its_end(run: Run) -> None:
    source = SHARED.format(scope="module", marked="module").replace("    go.set()\n    thread.join()\n", "")
    said = run(source.replace("wait, name", "wait, daemon=True, name"))
    assert "3 passed, 1 error" in said
    assert "ERROR test_it.py::test_third" in said
    assert "test_it.py left behind" in said


def test_a_misspelt_scope_is_refused(run: Run) -> None:
    said = run("import pytest\n@pytest.mark.leaks('modul')\ndef test_it(): pass\n")
    assert "leaks('modul') is none of function, class, module, session" in said


def test_workers_look_at_their_own_things_and_the_controller_at_the_machines(run: Run) -> None:
    source = "import os, threading\ndef test_a(): os.mkdir('/sys/fs/cgroup/pytest-tf-left')\n"
    source += "def test_b(): threading.Thread(target=threading.Event().wait, name='forgotten', daemon=True).start()\n"
    source += "def test_c(): pass\n"
    said = run(source, "-n", "2")
    assert "3 passed, 1 error" in said
    assert "thread: forgotten" in said
    assert "this run left behind" in said
    assert "control group: /sys/fs/cgroup/pytest-tf-left" in said
    assert f"status {LEFT_BEHIND}" in said


def test_on_a_shared_machine_only_ones_own_things_are_looked_at(run: Run) -> None:
    source = "import os, subprocess\ndef test_it():\n    os.mkdir('/sys/fs/cgroup/pytest-tf-left')\n"
    source += "    subprocess.run('exec -a crun sleep 1000 & :', shell=True, executable='bash', env={})\n"
    assert "1 passed in" in run(source, variables={"TF_LEAKS": "own"})


def test_a_failing_teardown_hides_no_leak(run: Run) -> None:
    source = (
        "import os, pytest\n@pytest.fixture\ndef broken():\n    yield\n    os.mkdir('/sys/fs/cgroup/pytest-tf-left')\n"
    )
    said = run(source + "    raise RuntimeError('teardown')\ndef test_it(broken): pass\n")
    assert "RuntimeError: teardown" in said
    assert "control group: /sys/fs/cgroup/pytest-tf-left" in said
