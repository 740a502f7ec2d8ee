"""What a test could leave behind, looked up cheaply: processes, threads, descriptors, mounts, namespaces, links, rules,
control groups, loop devices.

Each probe returns what is there now, by a key that means the same thing for as long as it exists, with words for people.
Some look at what belongs to this very process, others at what the whole machine shares. Knows nothing of pytest.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import zmq

from tfcore.errors import TfError
from tfnode.network.nftables import Nftables

Found = dict[str, str]
"""What is there: a key, and words for people."""

OWNER = "TF_LEAKS_OWNER"
"""In the environment of every process that this one starts, and of theirs: so orphans are known, too."""

OURS = ("tf-node", "tf-location", "tfnode", "tflocation", "crun")
"""Words in the command lines of our daemons and what they run."""

CGROUPS = "pytest-tf*"


@dataclass(frozen=True)
class Probe:
    """One kind of thing.

    Args:
        kind: what one of them is called.
        look: finds all there are.
        shared: True if the whole machine shares them, so that processes side by side see each other's.
    """

    kind: str
    look: Callable[[], Found]
    shared: bool = False


class Processes:
    """Processes that this one started, directly or not, whoever their parent is by now.

    Whether a process is one is decided when it is first seen, which makes looking again cheap.
    """

    def __init__(self) -> None:
        self._token = f"{os.getpid()}-{secrets.token_hex(8)}"
        self._verdicts = dict.fromkeys(_alive(), False) | {os.getpid(): True}  # what was there before us is not ours
        os.environ[OWNER] = self._token

    def __call__(self) -> Found:
        return {str(pid): _described(pid) for pid in self.pids()}

    def pids(self) -> list[int]:
        """Those alive, or dead and not waited for; this process itself left out."""
        alive = _alive()
        self._verdicts = {pid: verdict for pid, verdict in self._verdicts.items() if pid in alive}
        return [pid for pid in sorted(alive) if self._is_ours(pid) and pid != os.getpid()]

    def orphans(self) -> Found:
        """Daemons of this project that have appeared and that nobody tells the owner of: anybody's on this machine."""
        unknown = sorted(pid for pid in _alive() if pid not in self._verdicts and not self._is_ours(pid))
        return {str(pid): _described(pid) for pid in unknown if any(word in _command(pid) for word in OURS)}

    def _is_ours(self, pid: int) -> bool:
        if (known := self._verdicts.get(pid)) is not None:
            return known
        parent, owner = _parent(pid), _owner(pid)
        if owner or parent > 1:
            self._verdicts[pid] = owner == self._token if owner else self._is_ours(parent)
            return self._verdicts[pid]
        return False  # An orphan that says nothing: without an environment, or about to execute something. Ask again later.


def _alive() -> set[int]:
    return {int(name) for name in os.listdir("/proc") if name.isdigit()}


def _parent(pid: int) -> int:
    """0 if it is gone."""
    return int((_read(pid, "stat").rpartition(")")[2].split() or ["", "0"])[1])


def _owner(pid: int) -> str:
    variables = _read(pid, "environ").split("\0")
    return next((text.partition("=")[2] for text in variables if text.startswith(f"{OWNER}=")), "")


def _command(pid: int) -> str:
    return _read(pid, "cmdline").replace("\0", " ").strip()


def _read(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_text(errors="replace")
    except OSError:  # it ended meanwhile, or is another user's
        return ""


def _described(pid: int) -> str:
    command = _command(pid)[:200]
    return f"{pid} {command or _read(pid, 'comm').strip() + ' (ended, but nobody waited for it)'}"


def threads() -> Found:
    """Threads of this process, those of C libraries included."""
    names = {str(thread.native_id): thread.name for thread in threading.enumerate()}
    return {task: f"{names.get(task) or _comm(task)} (thread {task})" for task in os.listdir("/proc/self/task")}


def _comm(task: str) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/self/task/{task}/comm").read_text().strip()
    return "gone"


def descriptors() -> Found:
    """Open descriptors of this process, counted by what they stand for: their numbers change hands."""
    seen: Counter[str] = Counter()
    found = {}
    for fd, target in _open_files():
        seen[target] += 1
        found[f"{target} #{seen[target]}"] = f"{fd} -> {target}"
    return found


def _open_files() -> Iterator[tuple[int, str]]:
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # the listing's own
            yield int(name), os.readlink(f"/proc/self/fd/{name}")


def mounts() -> Found:
    """Mounts in this thread's mount namespace."""
    found = {}
    for line in Path("/proc/thread-self/mountinfo").read_text().splitlines():
        fields = line.split(" ")
        kind = fields[fields.index("-") + 1]
        found[f"{fields[0]} {fields[4]}"] = f"{kind} on {fields[4]}"
    return found


def own_namespaces(processes: Processes) -> Found:
    """Network namespaces that this process's threads, and the processes it started, are in."""
    places = [f"/proc/self/task/{task}" for task in os.listdir("/proc/self/task")]
    places += [f"/proc/{pid}" for pid in processes.pids()]
    found = {}
    for place in places:
        with contextlib.suppress(OSError):
            found[os.readlink(f"{place}/ns/net")] = f"{os.readlink(f'{place}/ns/net')} of {place}"
    return found


def named_namespaces() -> Found:
    """Network namespaces that have a name."""
    return _listed("/run/netns")


def links() -> Found:
    """Network interfaces of the host."""
    return _listed("/sys/class/net")


def cgroups() -> Found:
    """Control groups of nodes, whatever the layout."""
    root = Path("/sys/fs/cgroup")
    return {str(path): str(path) for pattern in (CGROUPS, f"*/{CGROUPS}") for path in root.glob(pattern)}


def loop_devices() -> Found:
    """Loop devices with a file behind them."""
    found = {}
    for device in Path("/sys/block").glob("loop*/loop/backing_file"):
        with contextlib.suppress(OSError):  # it was detached meanwhile
            found[str(device)] = f"/dev/{device.parts[3]} of {device.read_text().strip()}"
    return found


def _listed(directory: str) -> Found:
    try:
        return {name: name for name in os.listdir(directory)}
    except FileNotFoundError:
        return {}


def _nft_tables() -> Callable[[], Found] | None:
    """None where there are no rules to look at."""
    try:
        rules = Nftables()
        rules.tables()
    except TfError:
        return None

    def tables() -> Found:
        names = [f"{family} {name}" for family, name in rules.tables()]
        return {name: name for name in names}

    return tables


def _start_pyzmqs_collector() -> None:
    """The first message that is sent without copying starts a thread in pyzmq that stays as long as the process: let it be
    there before anybody looks."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    with context.socket(zmq.PAIR) as here, context.socket(zmq.PAIR) as there:
        here.bind("inproc://collector")
        there.connect("inproc://collector")
        here.send(bytes(1 << 20), copy=False)
        there.recv()
    context.term()


def all_probes() -> tuple[Probe, ...]:
    """Every probe this machine has a use for. To be called once, in the host's namespaces."""
    _start_pyzmqs_collector()
    processes = Processes()
    tables = _nft_tables()
    return (
        Probe("process", processes),
        Probe("thread", threads),
        Probe("descriptor", descriptors),
        Probe("network namespace", lambda: own_namespaces(processes)),
        Probe("orphaned daemon", processes.orphans, shared=True),
        Probe("named network namespace", named_namespaces, shared=True),
        Probe("mount", mounts, shared=True),
        Probe("network link", links, shared=True),
        Probe("control group", cgroups, shared=True),
        Probe("loop device", loop_devices, shared=True),
        *([Probe("table of firewall rules", tables, shared=True)] if tables else []),
    )
