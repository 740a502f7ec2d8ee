"""What can go wrong, as orders for failpoints: which steps there are, and how each fails in real life. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from tfcore.failpoints import Order

DISK = ("errno(ENOSPC)", "errno(EIO)")
PROGRAM = ("error(command-failed)", "error(deadline-exceeded)")
KERNEL = ("errno(ENOBUFS)", "errno(EPERM)", "errno(ETIMEDOUT)")
BUSY = ("errno(EBUSY)", "error(deadline-exceeded)")
MOUNT = ("error(mount-failed)",)

STEPS = (
    "bury", "cut-off", "discard", "keep", "kill", "make", "make-beside", "make-fresh", "renew", "reset-connections",
    "start", "swap", "take-over",
)  # fmt: skip
VERBS = ("create", "start", "exec", "delete", "create-done", "exec-done", "delete-done")
ANSWERS = (
    "container.ask", "container.boot", "container.destroy", "container.end", "container.roll-back", "container.snapshot",
    "container.spawn", "container.wait-ready", "volume.create", "volume.destroy",
)  # fmt: skip

WAYS: dict[str, Sequence[str]] = {
    "storage.build": DISK,
    "storage.place": DISK,
    "storage.discard": DISK,
    "storage.delete": DISK,
    "storage.commit": DISK,
    "mount.bind": MOUNT,
    "mount.attach": MOUNT,
    "mount.detach": (),  # umount2(2) with MNT_DETACH refuses nothing that is mounted
    "nft.run": PROGRAM[:1],
    "netlink.ask": KERNEL,
    "cgroup.create": DISK[:1],
    "cgroup.freeze": BUSY,
    "cgroup.thaw": BUSY,
    "cgroup.kill": BUSY,
    "cgroup.remove": BUSY,
    "layers.fetch": ("error(unavailable)",),
    "layers.unpack": DISK,
    "ledger.write": DISK,
    "ledger.place": DISK,
    "location.commit": ("error(exhausted)",),
    "cache.write": DISK,
    "cache.place": DISK,
    **{
        f"runtime.{verb}": PROGRAM
        for verb in ("create", "start", "exec", "delete", "create-done", "exec-done", "delete-done")
    },
    **{f"step.{step}": DISK for step in STEPS},
    **{f"answer.{op}": ("error(unavailable)",) for op in ANSWERS},
}
"""How each step fails by itself."""

ANYWHERE = ("delay(5)", "delay(40)")
DEADLY = tuple(name for name in WAYS if not name.startswith(("location.", "cache.", "layers.", "answer.")))
"""Steps of the agent, at each of which it may be killed."""


def draw(random: Random) -> Order:
    """One fault; nine of ten are failures, the rest delays and deaths of the agent."""
    name = random.choice(sorted(name for name, ways in WAYS.items() if ways))
    how = random.choice(WAYS[name])
    fate = random.random()
    if fate < 0.05:
        how = random.choice(ANYWHERE)
    elif fate < 0.1:
        name, how = random.choice(DEADLY), "kill"
    return Order.parse(f"{name}={how}@{random.choice((1, 1, 1, 2, 3, 5))}*{random.choice((1, 1, 1, 2))}")
