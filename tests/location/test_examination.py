"""`tf-location doctor` finds what is wrong and names the way out, and finds nothing where nothing is."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.location.world import location, run, until
from tflocation.cli import main
from tflocation.directory import Directory
from tflocation.examination import Finding, examine
from tflocation.options import ConfigFile


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "location"


@pytest.fixture
def made(root: Path) -> Directory:
    directory = Directory(root)
    directory.make(ConfigFile(name="lab", address="tcp://127.0.0.1:5555"))
    return directory


def wrong(findings: list[Finding]) -> list[str]:
    return [finding.name for finding in findings if finding.level == "wrong"]


def test_a_healthy_location(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            await world.node()
            directory = Directory(root)
            findings = await asyncio.to_thread(examine, directory, directory.run)
            assert wrong(findings) == []
            assert {"directory", "config", "store", "disk", "daemon", "node rack1"} <= {f.name for f in findings}
            assert await asyncio.to_thread(main, ["doctor", "--dir", str(root)]) == 0
            assert "nothing has to be mended" in capsys.readouterr().out

    run(scenario)


def test_nodes_that_are_missing_or_say_something(root: Path) -> None:
    async def scenario() -> None:
        async with location(root) as world:
            directory = Directory(root)
            findings = await asyncio.to_thread(examine, directory, directory.run)
            assert wrong(findings) == ["nodes"], "there is none"
            node = await world.node()
            node.offers(notes=("Outgoing connections are off",), disk=1 << 20, disk_total=1 << 40)
            await until(lambda: next(iter(world.location.nodes)).offer.notes)
            world.location.drains.begin(world.node_id())
            world.location.offers.heed_drains(world.location.nodes, world.location.drains)
            findings = await asyncio.to_thread(examine, directory, directory.run)
            about = [finding for finding in findings if finding.name == "node rack1"]
            assert [finding.level for finding in about].count("wrong") == 1, "its disk is full"
            assert any("Outgoing" in finding.sentence for finding in about)
            assert any("undrain rack1" in finding.way_out for finding in about)

    run(scenario)


def loosen_key(directory: Directory) -> None:
    directory.key.chmod(0o644)


def loosen_store(directory: Directory) -> None:
    directory.store.chmod(0o666)


def misspell(directory: Directory) -> None:
    directory.config.write_text(directory.config.read_text() + "leese = 3\n")


def damage(directory: Directory) -> None:
    content = bytearray(directory.store.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    directory.store.write_bytes(content)


def newer(directory: Directory) -> None:
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(directory.store)) as store:
        store.execute("PRAGMA user_version=999")


@pytest.mark.parametrize(
    ("harm", "name", "way_out"),
    [
        (loosen_key, "directory", "chmod 600"),
        (loosen_store, "directory", "chmod go-w"),
        (misspell, "config", ""),
        (damage, "store", ""),
        (newer, "store", "upgrade"),
    ],
)
def test_each_harm_is_found(made: Directory, harm: Callable[[Directory], None], name: str, way_out: str) -> None:
    harm(made)
    found = [finding for finding in examine(made, made.run) if finding.level == "wrong" and finding.name == name]
    assert found, "it was not noticed"
    assert way_out in found[0].way_out


def test_a_location_that_does_not_run_or_is_not_there(
    made: Directory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", "--dir", str(made.root), "--json"]) == 1
    findings = json.loads(capsys.readouterr().out)
    assert "tf-location serve" in next(f["way_out"] for f in findings if f["name"] == "daemon")
    assert main(["doctor", "--dir", str(tmp_path / "none")]) == 1
    assert "tf-location init" in capsys.readouterr().out


def test_listening_for_oneself_while_others_are_invited(made: Directory) -> None:
    text = made.config.read_text().replace('address = "tcp://127.0.0.1:5555"', 'address = "tcp://lab.example.org:5555"')
    made.config.write_text(text)
    note = next(finding for finding in examine(made, made.run) if finding.name == "config")
    assert note.level == "note"
    assert "loopback only" in note.sentence
