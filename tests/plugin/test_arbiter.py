"""Who builds what several workers need: the arbiter over its real socket, asked by threads that stand for workers."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_tf.arbiter import Arbiter, clear_up, introduce
from pytest_tf.sharing import NotYet, Sharing, What, _Question
from tests.plugin.fake_sdk import World
from tests.support.waiting import eventually
from tfcore.errors import NotFound, WrongState

SECONDS = 20.0


@pytest.fixture
def arbiter() -> Iterator[Arbiter]:
    made = Arbiter()
    yield made
    made.close()


@pytest.fixture
def workers() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


def ask(arbiter: Arbiter, key: str = "db", *, gone: str = "", wait: bool = True) -> _Question:
    return _Question(arbiter.path, key, gone=gone, wait=wait, timeout=SECONDS)


def told(question: _Question, kept: str) -> None:
    question.tell(kept, location="local", address="")


def test_the_first_builds_and_the_others_use_what_it_kept(arbiter: Arbiter, workers: ThreadPoolExecutor) -> None:
    first = ask(arbiter)
    assert first.verdict == "build"
    others = [workers.submit(ask, arbiter) for _ in range(3)]
    another = ask(arbiter, "another")
    assert another.verdict == "build"
    told(another, "")
    assert ask(arbiter, wait=False).verdict == "wait"
    told(first, "x-1")
    assert [(other.result(SECONDS).verdict, other.result().kept) for other in others] == [("use", "x-1")] * 3
    assert ask(arbiter, wait=False).kept == "x-1"
    assert arbiter.published == [("x-1", "local", "")]


def test_one_that_cannot_be_kept_each_makes_itself(arbiter: Arbiter, workers: ThreadPoolExecutor) -> None:
    first = ask(arbiter)
    other = workers.submit(ask, arbiter)
    told(first, "")
    assert other.result(SECONDS).verdict == ask(arbiter).verdict == "own"


def test_a_builder_that_dies_is_replaced_by_one(arbiter: Arbiter, workers: ThreadPoolExecutor) -> None:
    first = ask(arbiter)
    others: list[Future[_Question]] = [workers.submit(ask, arbiter) for _ in range(3)]
    first._hang_up()
    eventually(lambda: any(other.done() for other in others))
    second = next(other for other in others if other.done()).result()
    assert second.verdict == "build"
    told(second, "x-2")
    assert sorted(other.result(SECONDS).verdict for other in others) == ["build", "use", "use"]


def test_what_is_gone_is_built_anew_once(arbiter: Arbiter, workers: ThreadPoolExecutor) -> None:
    told(ask(arbiter), "x-1")
    second = ask(arbiter, gone="x-1")
    assert second.verdict == "build"
    late = workers.submit(ask, arbiter, gone="x-1")
    told(second, "x-2")
    assert (late.result(SECONDS).verdict, late.result().kept) == ("use", "x-2")


def test_when_it_closes_everybody_goes_on_alone(arbiter: Arbiter, workers: ThreadPoolExecutor) -> None:
    builder = ask(arbiter)
    waiting = workers.submit(ask, arbiter)
    eventually(lambda: threading.active_count() > 3)
    arbiter.close()
    assert waiting.result(SECONDS).verdict == "own"
    assert ask(arbiter).verdict == "own"
    told(builder, "x-1")
    assert not os.path.exists(arbiter.path)


def test_nobody_waits_for_ever(arbiter: Arbiter) -> None:
    builder = ask(arbiter)
    assert _Question(arbiter.path, "db", gone="", wait=True, timeout=0.1).verdict == "own"
    told(builder, "x-1")


def test_one_worker_alone_need_not_ask(pytester: pytest.Pytester) -> None:
    config = pytester.parseconfigure()
    node = SimpleNamespace(config=config, workerinput={"workercount": 1})
    introduce(node)
    assert "tf_arbiter" not in node.workerinput


# --- a worker's part


class Sdk:
    """Locations in memory whose containers can be kept and resumed by all workers."""

    def __init__(self) -> None:
        self.world = World()
        self.kept: dict[str, str] = {}
        self.location: Any = self.world.connect("local", None)
        self.location.resume = self._resume
        self.location.kept = lambda: [
            SimpleNamespace(id=one, forget=lambda one=one: self.kept.pop(one)) for one in self.kept
        ]
        self.node: Any = self.location.node()
        self.node.pk = "n1"
        self._spawn = self.node.spawn_container
        self.node.spawn_container = self._spawned
        self.refuses: Exception | None = None

    def _spawned(self, **wishes: Any) -> Any:
        container = self._spawn(wishes.pop("image"), **wishes)
        container.keep = lambda **_: self._keep(container)
        return container

    def _keep(self, container: Any) -> Any:
        self.world.happens(f"keep {container.name}")
        self.kept[f"x-{len(self.kept)}"] = container.name
        return SimpleNamespace(id=list(self.kept)[-1])

    def _all_kept(self) -> list[Any]:
        return [SimpleNamespace(id=one, forget=partial(self.kept.pop, one)) for one in self.kept]

    def _resume(self, kept: str) -> Any:
        if kept not in self.kept:
            raise NotFound(f"there is no kept snapshot {kept}")
        self.world.happens(f"resume {kept}")
        return self._spawn("db", hostname=self.kept[kept])


@pytest.fixture
def sdk() -> Sdk:
    return Sdk()


def sharing(arbiter: Arbiter) -> tuple[Sharing, list[str]]:
    forked: list[str] = []
    return Sharing(arbiter.path, "", forked), forked


def spawned(one: Sharing, sdk: Sdk, *, ahead: bool = False, **wishes: Any) -> Any:
    made, _ = one.spawn(What(sdk.node, "db", {"image": "db", **wishes}), ahead=ahead, timeout=SECONDS)
    one.settle(made, SECONDS)
    return made


def test_it_is_kept_when_it_is_ready_before_anybody_works_on_it(arbiter: Arbiter, sdk: Sdk) -> None:
    one, forked = sharing(arbiter)
    other, theirs = sharing(arbiter)
    spawned(one, sdk)
    assert sdk.world.happened[1:] == ["spawn db", "ready db", "keep db"]
    spawned(other, sdk)
    assert sdk.world.happened[4:] == ["resume x-0", "spawn db"]
    assert (forked, theirs) == ([], ["db"])
    spawned(other, sdk, env={"A": "1"})
    assert sdk.world.that("keep") == ["keep db", "keep db"]


def test_what_was_evicted_is_built_anew(arbiter: Arbiter, sdk: Sdk) -> None:
    spawned(sharing(arbiter)[0], sdk)
    sdk.kept.clear()
    other, forked = sharing(arbiter)
    spawned(other, sdk)
    assert forked == []
    assert sdk.world.that("keep") == ["keep db", "keep db"]


@pytest.mark.parametrize("step", ["ready", "keep"])
def test_what_cannot_be_kept_is_ones_own(arbiter: Arbiter, sdk: Sdk, step: str) -> None:
    sdk.world.fail(step, WrongState("no"))
    one, _ = sharing(arbiter)
    spawned(one, sdk)
    spawned(sharing(arbiter)[0], sdk)
    assert len(sdk.world.that("spawn")) == 2
    assert (sdk.kept, arbiter.published) == ({}, [])


def test_what_cannot_be_spawned_is_told_by_each(arbiter: Arbiter, sdk: Sdk) -> None:
    for _ in range(2):
        sdk.world.fail("spawn", WrongState("no such image"))
        with pytest.raises(WrongState, match="no such image"):
            spawned(sharing(arbiter)[0], sdk)


def test_nobody_waits_for_what_nobody_needs_yet(arbiter: Arbiter, sdk: Sdk) -> None:
    key = What(sdk.node, "db", {"image": "db"}).key
    builder = ask(arbiter, key)
    with pytest.raises(NotYet):
        spawned(sharing(arbiter)[0], sdk, ahead=True)
    told(builder, "")
    eventually(lambda: ask(arbiter, key, wait=False).verdict == "own")
    spawned(sharing(arbiter)[0], sdk, ahead=True)


def test_what_is_prepared_is_kept_when_that_is_done(arbiter: Arbiter, sdk: Sdk) -> None:
    what = What(sdk.node, "db", {"image": "db"}, prepared="so")
    (one, _), (other, theirs) = sharing(arbiter), sharing(arbiter)
    builders, forked = one.spawn(what, ahead=False, timeout=SECONDS)
    assert not forked
    one.settle(builders, SECONDS)
    assert sdk.world.that("keep") == []
    with pytest.raises(NotYet):
        other.spawn(what, ahead=True, timeout=SECONDS)
    for _ in range(2):
        one.publish(builders, SECONDS)
        one.abandon(builders)
    assert sdk.world.that("keep") == ["keep db"]
    assert other.spawn(what, ahead=False, timeout=SECONDS)[1]
    assert theirs == ["db"]


def test_what_could_not_be_prepared_is_for_each_to_try(arbiter: Arbiter, sdk: Sdk) -> None:
    what = What(sdk.node, "db", {"image": "db"}, prepared="so")
    one, other = sharing(arbiter)[0], sharing(arbiter)[0]
    builders, _ = one.spawn(what, ahead=False, timeout=SECONDS)
    one.abandon(builders)
    assert not other.spawn(what, ahead=False, timeout=SECONDS)[1]
    assert sdk.kept == {}


def test_without_anybody_to_ask_each_has_its_own(sdk: Sdk) -> None:
    one = Sharing("/nowhere/arbiter", "", [])
    spawned(one, sdk)
    assert sdk.world.happened[1:] == ["spawn db"]
    assert not Sharing("", "", []).wanted


def test_what_was_kept_is_forgotten_at_the_end(arbiter: Arbiter, sdk: Sdk, monkeypatch: pytest.MonkeyPatch) -> None:
    import pytest_tf.session

    monkeypatch.setattr(pytest_tf.session, "connect", lambda name, address: sdk.location)
    spawned(sharing(arbiter)[0], sdk)
    sdk.kept["x-of-others"] = "other"
    for _ in range(2):
        clear_up(arbiter)
    assert list(sdk.kept) == ["x-of-others"]
    assert sdk.world.that("disconnect") == ["disconnect"]


def test_a_wish_is_the_same_if_all_of_it_is(sdk: Sdk) -> None:
    def key(name: str = "db", prepared: str = "", **wishes: Any) -> str:
        return What(sdk.node, name, wishes, prepared).key

    assert key(image="a", env={"A": "1"}) == key(env={"A": "1"}, image="a")
    keys = {
        key(image="a"),
        key(image="b"),
        key("web", image="a"),
        key(prepared="so", image="a"),
        key(image="a", env={}),
        key(image="a", env={"A": "1"}),
    }
    assert len(keys) == 6
