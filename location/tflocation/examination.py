"""`tf-location doctor`: what of a location is as it should be, what is not, and the way out. One sentence each.

Looks and never changes. Knows no arguments; each look gives its findings, and one that fails is a finding, too.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal

import tfcore
from tfcore import keys
from tfcore.errors import TfError
from tflocation import options
from tflocation.directory import Directory
from tflocation.operator import ask_status
from tflocation.store.database import MIGRATIONS

Level = Literal["ok", "note", "wrong"]

ROOM = 1 << 30
"""Bytes: with less on the directory's disk images cannot be cached, and soon nothing can be written down."""

DESCRIPTORS = 4096
"""Open files: each client and node takes one, and so does each unix socket."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was looked at. `wrong` has to be mended, a `note` is good to know."""

    name: str
    level: Level
    sentence: str
    way_out: str = ""


def examine(directory: Directory, run: Path) -> list[Finding]:
    """All findings about a location, from its files to its nodes."""
    findings = list(_guarded("directory", _files, directory))
    if any(finding.level == "wrong" for finding in findings):
        return findings
    findings += _guarded("config", _configuration, directory)
    findings += _guarded("store", _store, directory)
    findings += _guarded("disk", _disk, directory)
    try:
        report = json.loads(ask_status(directory, run))
    except TfError as error:
        findings.append(Finding(name="daemon", level="wrong", sentence=error.message, way_out=error.hint))
        return findings
    findings += _guarded("daemon", _daemon, report)
    return findings + list(_guarded("nodes", _nodes, report))


def _guarded(name: str, look: Any, *arguments: Any) -> Iterator[Finding]:
    try:
        yield from look(*arguments)
    except TfError as error:
        yield Finding(name=name, level="wrong", sentence=error.message, way_out=error.hint)
    except (OSError, sqlite3.Error) as error:
        yield Finding(name=name, level="wrong", sentence=f"cannot be looked at: {error}")


def _files(directory: Directory) -> Iterator[Finding]:
    directory.server_keys()
    keys.load(directory.operator)
    open_to = [path.name for path in (directory.store, directory.config) if _others_can_write(path)]
    if open_to:
        paths = " ".join(str(directory.root / name) for name in open_to)
        yield Finding(
            name="directory", level="wrong", sentence=f"others can write to {', '.join(open_to)}",
            way_out=f"chmod go-w {paths}",
        )  # fmt: skip
    else:
        yield Finding(name="directory", level="ok", sentence=f"{directory.root} is closed to others, its keys are good")


def _others_can_write(path: Path) -> bool:
    return bool(stat.S_IMODE(path.stat().st_mode) & 0o022)


def _configuration(directory: Directory) -> Iterator[Finding]:
    config = options.read(directory.config)
    options.options_of(config, directory=directory.root, run=directory.run)
    if config.listen and all(_loopback(endpoint) for endpoint in config.listen) and not _loopback(config.address):
        yield Finding(
            name="config", level="note",
            sentence=f"clients are told to connect to {config.address}, but it listens on this machine's loopback only",
            way_out=f'in {directory.config}: listen = ["tcp://0.0.0.0:{options.PORT}"], then restart it',
        )  # fmt: skip
    else:
        yield Finding(
            name="config", level="ok", sentence=f"location {config.name}, clients connect to {config.address}"
        )


def _loopback(endpoint: str) -> bool:
    if endpoint.startswith("ipc://"):
        return True
    host = endpoint.removeprefix("tcp://").rpartition(":")[0].strip("[]")
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _store(directory: Directory) -> Iterator[Finding]:
    with closing(sqlite3.connect(f"{directory.store.as_uri()}?mode=ro", uri=True)) as store:
        (verdict,) = store.execute("PRAGMA quick_check").fetchone()
        (schema,) = store.execute("PRAGMA user_version").fetchone()
    if verdict != "ok":
        yield Finding(
            name="store", level="wrong", sentence=f"{directory.store} is damaged: {verdict}",
            way_out="stop the daemon and restore a backup: tf-location restore FILE --force",
        )  # fmt: skip
    elif schema > len(list(MIGRATIONS.glob("*.sql"))):
        yield Finding(
            name="store", level="wrong", sentence=f"{directory.store} was written by a newer tf-location",
            way_out="upgrade this one",
        )  # fmt: skip
    else:
        size = directory.store.stat().st_size / 2**20
        yield Finding(name="store", level="ok", sentence=f"sound, {size:.1f} MiB")


def _disk(directory: Directory) -> Iterator[Finding]:
    space = options.read(directory.config).image_space * options.GIB
    usage = shutil.disk_usage(directory.root)
    cached = sum(path.stat().st_size for path in directory.images.rglob("*") if path.is_file())
    free = f"{usage.free / 2**30:.1f} GiB free"
    if usage.free < ROOM:
        yield Finding(
            name="disk", level="wrong", sentence=f"{free} on the disk of {directory.root}",
            way_out="make room, or lower image_space in location.toml and restart",
        )  # fmt: skip
    elif usage.free + cached < space:
        yield Finding(
            name="disk", level="note",
            sentence=f"{free}, and the image cache may grow to {space / 2**30:.0f} GiB (it has {cached / 2**30:.1f})",
            way_out="lower image_space in location.toml, or give the directory a larger disk",
        )  # fmt: skip
    else:
        yield Finding(name="disk", level="ok", sentence=f"{free}; {cached / 2**30:.1f} GiB of images are cached")


def _daemon(report: dict[str, Any]) -> Iterator[Finding]:
    if report["version"] != tfcore.VERSION:
        yield Finding(
            name="daemon", level="note",
            sentence=f"the daemon is version {report['version']}, and this command {tfcore.VERSION}",
            way_out="restart the daemon: no session is lost",
        )  # fmt: skip
    else:
        yield Finding(name="daemon", level="ok", sentence=f"answers, version {report['version']}, pid {report['pid']}")
    most = _descriptors(report["pid"])
    if most is not None and most < DESCRIPTORS:
        yield Finding(
            name="limits", level="note", sentence=f"the daemon may open {most} files: about {most // 2} clients",
            way_out="LimitNOFILE=65536 in its unit, or ulimit -n before it is started",
        )  # fmt: skip
    if report["draining"]:
        yield Finding(
            name="draining", level="note", sentence="the location opens no new sessions", way_out="tf-location undrain"
        )


def _descriptors(pid: int) -> int | None:
    try:
        limits = Path(f"/proc/{pid}/limits").read_text()
    except OSError:
        return None
    line = next((line for line in limits.splitlines() if line.startswith("Max open files")), "")
    soft = line.split()[3:4]
    return int(soft[0]) if soft and soft[0].isdigit() else None


def _nodes(report: dict[str, Any]) -> Iterator[Finding]:
    if not report["nodes"]:
        yield Finding(
            name="nodes", level="wrong", sentence="there is no node, so nothing can run",
            way_out="tf-location node add NAME, then the command it prints on that machine",
        )  # fmt: skip
    for node in report["nodes"]:
        yield from _node(report, node)


def _node(report: dict[str, Any], node: dict[str, Any]) -> Iterator[Finding]:
    name = f"node {node['name']}"
    if node["state"] not in ("joined", "draining"):
        yield Finding(
            name=name, level="wrong", sentence=f"is {node['state']}: no word from it",
            way_out="on that machine: systemctl status tf-node, or tf-node check",
        )  # fmt: skip
        return
    if node["version"] != report["version"]:
        yield Finding(
            name=name, level="note", sentence=f"has version {node['version']}, the location {report['version']}",
            way_out="drain it, then upgrade it: docs/guides/operate.md",
        )  # fmt: skip
    if node["draining"]:
        yield Finding(
            name=name, level="note", sentence="takes nothing new on", way_out=f"tf-location undrain {node['name']}"
        )
    if node["disk_total"] and node["disk"] < ROOM:
        yield Finding(
            name=name, level="wrong", sentence=f"{node['disk'] / 2**20:.0f} MiB free on its disk",
            way_out="drain it; forget kept snapshots and volumes that nobody needs",
        )  # fmt: skip
    for note in node["notes"]:
        yield Finding(name=name, level="note", sentence=note)
    memory = node["memory"] / 2**30
    yield Finding(name=name, level="ok", sentence=f"joined, {memory:.1f} GiB of memory free, storage {node['storage']}")
