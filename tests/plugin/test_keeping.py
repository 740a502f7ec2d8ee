"""`--tf-keep=failed`: the containers of a failed test can be had again."""

from __future__ import annotations

import re
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from pytest_tf.keeping import surplus
from tests.plugin.conftest import Run
from tests.plugin.fake_sdk import World
from tfcore.errors import Exhausted

CONFTEST = "from pytest_tf import container\ndb = container('postgres')\nweb = container('nginx')"
FAILS = "def test_it(db, web):\n    db.put('/left', 'by the test')\n    assert 0"


def ids(result: pytest.RunResult) -> list[str]:
    return re.findall(r"^tf resume (f-\w{6})", result.stdout.str(), re.MULTILINE)


def test_a_failed_test_s_containers_are_kept_as_it_left_them(run: Run, world: World, pytester: pytest.Pytester) -> None:
    result = run(FAILS, "--tf-keep=failed", "--junitxml=out.xml", conftest=CONFTEST)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*tf keep*", "tf resume f-??????   (for 24 h)", "*kept: tf resume f-*"])
    [failure] = ids(result)
    assert {kept.labels["container"]: kept.files for kept in world.kept.values()} == {
        "db": {"/left": b"by the test"},
        "web": {},
    }
    assert {kept.labels["failure"] for kept in world.kept.values()} == {failure}
    assert {kept.labels["test"] for kept in world.kept.values()} == {"test_inner.py::test_it"}
    properties = {one.get("name"): one.get("value") for one in ET.parse(pytester.path / "out.xml").iter("property")}
    assert properties["tf.keep_id"] == failure


@pytest.mark.parametrize("arguments", [(), ("--tf-keep=none",), ("--tf-keep=failed", "--tf-keep-count=0")])
def test_nothing_is_kept_unless_it_is_asked_for(run: Run, world: World, arguments: tuple[str, ...]) -> None:
    run(FAILS, *arguments, conftest=CONFTEST).assert_outcomes(failed=1)
    assert world.that("keep") == []


def test_a_test_that_passes_leaves_nothing(run: Run, world: World) -> None:
    run("def test_it(db): pass", "--tf-keep=all", conftest=CONFTEST).assert_outcomes(passed=1)
    assert world.that("keep") == []


def test_a_failing_set_up_is_kept_and_a_failing_teardown_is_too_late(run: Run, world: World) -> None:
    test = """
        import pytest
        @pytest.fixture
        def broken(db): raise RuntimeError
        @pytest.fixture
        def late(web):
            yield
            raise RuntimeError
        def test_one(broken): pass
        def test_two(late): pass
        """
    run(test, "--tf-keep=failed", conftest=CONFTEST).assert_outcomes(errors=2, passed=1)
    assert world.that("keep") == ["keep db"]


def test_only_so_many_failures_are_kept_and_those_of_earlier_runs_go_first(run: Run, world: World) -> None:
    test = "import pytest\n@pytest.mark.parametrize('n', range(4))\ndef test_it(db, n): assert 0"
    first = run(test, "--tf-keep=failed", "--tf-keep-count=2", conftest=CONFTEST)
    first.stdout.fnmatch_lines(["its containers are not kept: those of 2 failures are (--tf-keep-count)"])
    assert [kept.labels["failure"] for kept in world.kept.values()] == ids(first)
    second = run("def test_it(db): assert 0", "--tf-keep=failed", "--tf-keep-count=2")
    assert [kept.labels["failure"] for kept in world.kept.values()] == [ids(first)[1], *ids(second)]


def test_what_cannot_be_kept_is_told(run: Run, world: World) -> None:
    world.fail("keep db", Exhausted("the disk is full"))
    result = run(FAILS, "--tf-keep=failed", "--tf-keep-for=90m", conftest=CONFTEST)
    result.stdout.fnmatch_lines(["tf resume f-??????   (for 90 m)", "db is not kept: the disk is full"])
    assert [kept.labels["container"] for kept in world.kept.values()] == ["web"]


def test_another_location_is_named(run: Run) -> None:
    result = run(FAILS, "--tf-keep=failed", "--tf-location=tiny.20ft.nz", conftest=CONFTEST)
    result.stdout.fnmatch_lines(["tf resume f-?????? --location=tiny.20ft.nz   (for 24 h)"])


@dataclass
class Part:
    name: str
    created: float
    labels: dict[str, str]


def test_what_goes_first() -> None:
    def part(failure: str, run: str, created: float) -> Any:
        return Part(failure, created, {"failure": failure, "run": run})

    present = [
        part("b", "old", 2),
        part("a", "old", 1),
        part("a", "old", 1.5),
        part("c", "new", 3),
        part("d", "new", 4),
    ]
    present.append(SimpleNamespace(created=0.0, labels={"baseline": "db"}))
    assert [kept.name for kept in surplus(present, 3, run="new")] == ["a", "a"]
    assert [kept.name for kept in surplus(present, 1, run="new")] == ["a", "a", "b"]
    assert surplus(present, 4, run="new") == []
