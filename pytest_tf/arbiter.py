"""Which of xdist's workers boots what they all need: decided in the controller, asked for over a socket in a directory of
its own. The first to ask for a container builds it and keeps a snapshot of it; the others wait, and fork theirs from that.

One connection is one question, a line of JSON each way:

    {"key": K, "wait": bool, "gone": ID}      what is K to me? ID is what I was told before, and is not there any more
    {"say": "build"}                          you make it; the next line is {"kept": ID} or {"kept": ""}: it cannot be kept
    {"say": "use", "kept": ID}                fork yours from this
    {"say": "own"}                            make your own
    {"say": "wait"}                           somebody makes it; ask again (only without `wait`)

A builder whose connection ends without that line has died, and somebody else builds. Knows no containers.
"""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
import socketserver
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pytest_tf.stash import ARBITER

log = logging.getLogger(__name__)

BUILDING, READY, OWN = "building", "ready", "own"


@dataclass
class _Case:
    state: str
    kept: str = ""


class Arbiter:
    """The controller's. Listens until it is closed.

    Attributes:
        path: of its socket.
        published: (id of a kept snapshot, name of its location, address given for that), oldest first.

    Raises:
        OSError: there is nowhere to listen.
    """

    def __init__(self) -> None:
        self.published: list[tuple[str, str, str]] = []
        self._cases: dict[str, _Case] = {}
        self._changed = threading.Condition()
        self._over = False
        self._directory = Path(tempfile.mkdtemp(prefix="pytest-tf-"))
        self.path = str(self._directory / "arbiter")
        try:
            self._server = _Server(self.path, self.answer)
        except OSError:
            shutil.rmtree(self._directory, ignore_errors=True)
            raise
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="tf arbiter", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Answer nobody any more. Safe to call twice."""
        with self._changed:
            if self._over:
                return
            self._over = True
            self._changed.notify_all()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        shutil.rmtree(self._directory, ignore_errors=True)

    def answer(self, conversation: socketserver.StreamRequestHandler) -> None:
        """One connection, from its question on (a thread of its own)."""
        asked = _line(conversation)
        if asked is None:
            return
        verdict = self._decide(asked["key"], wait=asked["wait"], gone=asked["gone"])
        with contextlib.suppress(OSError):
            conversation.wfile.write(json.dumps(verdict).encode() + b"\n")
        if verdict["say"] == "build":
            self._heed(asked["key"], _line(conversation))

    def _decide(self, key: str, *, wait: bool, gone: str) -> dict[str, str]:
        with self._changed:
            while not self._over:
                case = self._cases.get(key)
                if case is None or (case.state == READY and case.kept == gone):
                    self._cases[key] = _Case(BUILDING)
                    return {"say": "build"}
                if case.state == READY:
                    return {"say": "use", "kept": case.kept}
                if case.state == OWN:
                    break
                if not wait:
                    return {"say": "wait"}
                self._changed.wait()
            return {"say": "own"}

    def _heed(self, key: str, outcome: dict[str, Any] | None) -> None:
        """What became of it; None: its builder is gone."""
        with self._changed:
            if outcome is None:
                del self._cases[key]
            elif outcome["kept"]:
                self._cases[key] = _Case(READY, outcome["kept"])
                self.published.append((outcome["kept"], outcome["location"], outcome["address"]))
            else:
                self._cases[key] = _Case(OWN)
            self._changed.notify_all()


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, path: str, answer: Any) -> None:
        class Conversation(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                answer(self)

        super().__init__(path, Conversation)


def _line(conversation: socketserver.StreamRequestHandler) -> dict[str, Any] | None:
    """The next thing the worker says; None if it has gone."""
    try:
        said = conversation.rfile.readline()
        return json.loads(said) if said.endswith(b"\n") else None
    except (OSError, ValueError):
        return None


def introduce(node: Any) -> None:
    """Tell a worker that is about to start whom to ask; several share, one alone need not.

    Args:
        node: xdist's controller of that worker.
    """
    config: pytest.Config = node.config
    if node.workerinput.get("workercount", 1) < 2:
        return
    try:
        if ARBITER not in config.stash:
            config.stash[ARBITER] = Arbiter()
    except OSError as error:
        log.warning("each worker boots its own containers: %s", error)
        return
    node.workerinput["tf_arbiter"] = config.stash[ARBITER].path


def clear_up(arbiter: Arbiter) -> None:
    """All workers are done: forget what was kept for them. What cannot be forgotten goes by itself."""
    arbiter.close()
    published, arbiter.published = arbiter.published, []
    for where in dict.fromkeys((location, address) for _, location, address in published):
        _forget([kept for kept, *there in published if tuple(there) == where], *where)


def _forget(ids: list[str], name: str, address: str) -> None:
    from pytest_tf import session
    from tfcore.errors import NotFound, TfError

    try:
        location = session.connect(name, address or None)
        try:
            for kept in location.kept():
                if kept.id in ids:
                    with contextlib.suppress(NotFound):
                        kept.forget()
        finally:
            location.disconnect()
    except (TfError, OSError) as error:
        log.warning("snapshots that workers have forked from stay at %s until their time is over: %s", name, error)
