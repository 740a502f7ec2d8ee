"""A node with a real container, asked malformed things by its owner: whoever is let in by the location may still mean harm.

Requests that a client may make of a node pass the location unread, so what they say is the node's to refuse.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fuzz.mutations import SEED, TIMES, mutated
from tests.location.world import Client, run
from tests.support.daemons import RemoteLocation
from tests.support.line import remote_location, sleeper
from tests.support.rootfs import has_perl, rootfs_tar
from tests.support.runtime_machine import needs_crun
from tests.wire.vocabulary import sample
from tfcore.errors import TfError
from tfcore.ids import new_id
from tfcore.wire import containers as c
from tfcore.wire import images as i
from tfcore.wire import links
from tfcore.wire import sessions as s
from tfcore.wire.header import Header, encode_header
from tfcore.wire.message import encode, op_of
from tfnz import accounts

pytestmark = [*needs_crun, pytest.mark.leaks("module")]

EACH = 12 * TIMES
"""Malformed requests of each kind."""


@pytest.fixture(scope="module")
def place() -> Iterator[RemoteLocation]:
    with remote_location() as made:
        yield made


def test_requests_that_pass_the_location_unread(
    place: RemoteLocation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None of them is a defect to the agent, and the agent lives on; the container may have suffered what was asked for."""
    if not has_perl():
        pytest.skip("there is no perl on this machine for the containers to run")
    image = f"rootfs:{rootfs_tar(tmp_path / 'tiny.tar')}"
    monkeypatch.setenv("TF_HOME", str(place.directory / "alice"))
    agent, account = place.node.agent, accounts.find(place.name)
    before = _memory(agent)
    with place.connect() as location:
        node = sleeper(location, image).node.pk
        codes: Counter[str] = Counter()

        async def scenario() -> None:
            client = Client(account.endpoint, account.server_key, account.keys)
            try:
                await client.hello()
                (known, *_) = (await client.call(i.ListImages())).images
                wish = c.ContainerWish(image=known.name, command=("sleep", "infinity"))
                target = (await client.call(c.SpawnContainer(node=node, wish=wish))).container
                await client.call(c.WaitReady(), target=target)
                await _ask(client, target, codes)
                await client.call(s.CloseSession())
            finally:
                await client.close()

        run(scenario)
        assert sleeper(location, image).run_process("echo well").stdout == b"well\n"
    assert place.node.agent == agent
    log = place.log("node") + place.log("location")
    for word in ("Traceback", "failed by a defect", "could not be handled"):
        assert word not in log, log[log.index(word) - 1500 :][:5000]
    assert codes["bad-request"] > 0
    assert codes["internal"] == 0
    assert _memory(agent) - before < 64 << 20


async def _ask(client: Client, target: str, codes: Counter[str]) -> None:
    """Of every kind some at a time, with a tenth of a second for what turns out to be well-formed."""
    chance = random.Random(f"node {SEED}")
    heard = asyncio.Event()
    waiting: set[str] = set()

    def settle(header: Header, body: bytes | memoryview) -> None:
        if header.id in waiting:
            waiting.discard(header.id)
            if header.kind == "failure":
                codes[_code(bytes(body))] += 1
            if not waiting:
                heard.set()

    receive = client.link.receive
    client.link.receive = lambda header, body: (settle(header, body), receive(header, body))[1]  # type: ignore[method-assign]
    for cls in links.CLIENT_TO_NODE:
        good = encode(sample(cls))
        heard.clear()
        for _ in range(EACH):
            header = Header(
                kind="request",
                id=new_id("r"),
                op=op_of(cls),
                target=target,
                session=client.welcome.session,
                timeout=0.1,
            )
            waiting.add(header.id)
            client.send_raw(encode_header(header), mutated(chance, [good]))
        async with asyncio.timeout(30):
            await heard.wait()


def _code(body: bytes) -> str:
    from tfcore.wire.message import Failure, decode

    try:
        return decode(body, Failure).code
    except TfError:
        return "unreadable"


def _memory(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
