"""The threads that run users' callbacks, one callback at a time.

A callback may block and may call back into the SDK, so it never runs on the I/O thread (DESIGN D3). Those of one object keep
their order and never overlap. Those of different objects do not run at the same time either, so that callbacks need no
locks among themselves; but while one waits for an answer of the SDK, others' go on, which that answer may depend on.
"""

from __future__ import annotations

import contextlib
import inspect
import logging
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any

log = logging.getLogger(__name__)

CLOSE_TIMEOUT = 5.0
"""Seconds that callbacks have to come to an end; one that blocks longer is left behind, on a daemon thread."""

Item = tuple[Callable[..., object], tuple[Any, ...]]
OnFailure = Callable[[Exception], None]

_this_thread = threading.local()


class Callbacks:
    """Runs functions one after another in threads of its own, the first of them started at the first one."""

    def __init__(self, name: str, on_failure: OnFailure = lambda _: None) -> None:
        """`on_failure` is told what a callback raised, on its thread."""
        self._name = name
        self._on_failure = on_failure
        self._changed = threading.Condition()
        self._lanes: OrderedDict[int, tuple[object, deque[Item]]] = OrderedDict()
        self._busy: set[int] = set()
        self._running = False
        self._idle = 0
        self._alive = 0
        self._closed = False

    def post(self, function: Callable[..., object] | None, *args: Any, lane: object = None) -> bool:
        """Have `function(*args)` called soon, after all posted before it for the same `lane`.

        Returns:
            False if it will not be: None is ignored, and all after `close`.
        """
        if function is None:
            return False
        with self._changed:
            if self._closed:
                return False
            _, items = self._lanes.setdefault(id(lane), (lane, deque()))
            items.append((function, args))
            self._wake()
        return True

    def _wake(self) -> None:
        """Somebody is to look, if nobody is going to anyway."""
        if self._running:
            return
        if not self._idle:
            self._alive += 1
            threading.Thread(target=self._work, name=f"tfnz {self._name} callbacks", daemon=True).start()
        self._changed.notify_all()

    def _work(self) -> None:
        while (taken := self._take()) is not None:
            lane, (function, args) = taken
            _this_thread.at = (self, lane)
            try:
                function(*args)
            except Exception as failure:
                log.exception("the callback %r failed", function)
                self._on_failure(failure)
            finally:
                _this_thread.at = None
                self._done(lane)

    def _take(self) -> tuple[int, Item] | None:
        """The next function, once none runs; None if this thread is not needed any more."""
        with self._changed:
            while True:
                lane = None if self._running else self._next_lane()
                if lane is not None:
                    item = self._lanes[lane][1].popleft()
                    self._running = True
                    self._busy.add(lane)
                    return lane, item
                if self._idle or (self._closed and not self._lanes):
                    self._alive -= 1
                    self._changed.notify_all()
                    return None
                self._idle += 1
                self._changed.wait()
                self._idle -= 1

    def _next_lane(self) -> int | None:
        return next((lane for lane, (_, items) in self._lanes.items() if items and lane not in self._busy), None)

    def _done(self, lane: int) -> None:
        with self._changed:
            self._running = False
            self._busy.discard(lane)
            owner, items = self._lanes.pop(lane)
            if items:
                self._lanes[lane] = (owner, items)  # the others' turn first
            self._changed.notify_all()

    @contextlib.contextmanager
    def _aside(self) -> Iterator[None]:
        """The callback in this thread waits; others may run meanwhile."""
        with self._changed:
            self._running = False
            if self._next_lane() is not None:
                self._wake()
        try:
            yield
        finally:
            with self._changed:
                while self._running:
                    self._changed.wait()
                self._running = True

    def close(self) -> None:
        """Run what was posted, then end. From within a callback it does not wait for itself."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            mine = 1 if _at() is self else 0
            end = monotonic() + CLOSE_TIMEOUT
            while self._alive > mine and not mine and (left := end - monotonic()) > 0:
                self._changed.wait(left)


def _at() -> Callbacks | None:
    at = getattr(_this_thread, "at", None)
    return at[0] if at else None


@contextlib.contextmanager
def standing_aside() -> Iterator[None]:
    """For waits of the SDK: if this thread runs a callback, others' callbacks may run during the block."""
    callbacks = _at()
    if callbacks is None:
        yield
    else:
        with callbacks._aside():
            yield


def runs_callback_of(lane: object) -> bool:
    """True if this thread is running a callback that was posted for `lane`."""
    at = getattr(_this_thread, "at", None)
    return at is not None and at[1] == id(lane)


def fitting(callback: Callable[..., object] | None, *args: object) -> Callable[[], object] | None:
    """`callback` with as many of `args` as it takes: gen 1's have one fewer than gen 2's (seed 001: `tc(obj)`)."""
    if callback is None:
        return None
    count = len(args)
    with contextlib.suppress(TypeError, ValueError):  # what has no signature gets all
        signature = inspect.signature(callback)
        while count > 1 and not _takes(signature, args[:count]):
            count -= 1
    return lambda: callback(*args[:count])


def _takes(signature: inspect.Signature, args: tuple[object, ...]) -> bool:
    try:
        signature.bind(*args)
    except TypeError:
        return False
    return True
