"""Suites whose containers are prepared once, and failed tests whose containers are had again: real runs, and `tf`."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.daemons import PrivateLocation, until
from tests.support.line import nothing_more, private_location

pytestmark = pytest.mark.leaks("module")

CONFTEST = """
    from pytest_tf import container, ready, volume
    data = volume()
    box = container({tiny!r}, command=["sleep", "infinity"], ready=ready.running(){more})
    side = container({tiny!r}, command=["sleep", "infinity"], ready=ready.running())

    @box.baseline
    def prepared(box):
        assert box.run_process("mkdir -p /data; cat /proc/sys/kernel/random/uuid > {where}").exit_code == 0
    """
FAILS = """
    def test_it(box, side):
        print("prepared at", box.fetch("/prepared").decode())
        box.run_process("echo by the test > /left; rm /etc/passwd")
        side.put("/beside", "too")
        assert 0
    """
TF = (sys.executable, "-m", "tfnz.cli")

Run = Callable[..., pytest.RunResult]


@pytest.fixture(scope="module")
def place() -> Iterator[PrivateLocation]:
    with private_location() as made:
        yield made


@pytest.fixture
def run(pytester: pytest.Pytester, place: PrivateLocation, tiny: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    """An inner run in a process of its own."""
    for name, value in place.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PYTHONPATH", os.getcwd())
    pytester.makeconftest(CONFTEST.format(tiny=tiny, more="", where="/prepared"))

    def run(test: str, *arguments: str) -> pytest.RunResult:
        pytester.makepyfile(test_inner=test)
        return pytester.runpytest_subprocess("--tf-location=local", "-p", "no:randomly", *arguments)

    return run


@pytest.fixture
def tf(run: Run) -> Callable[..., subprocess.CompletedProcess[str]]:
    def tf(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run([*TF, *arguments], input=stdin, capture_output=True, text=True, timeout=60, check=False)

    return tf


@pytest.fixture(autouse=True)
def nothing_kept(place: PrivateLocation) -> Iterator[None]:
    """What a test has kept goes, and then the node has what it had before."""
    with place.connect() as first:
        until(lambda: [node for node in first.nodes.values() if node.alive], "a node")
    with nothing_more(place):
        yield
        with place.connect() as location:
            for kept in location.kept():
                kept.forget()


def prepared_at(result: pytest.RunResult) -> str:
    found = re.search(r"prepared at ([0-9a-f-]+)$", result.stdout.str(), re.MULTILINE)
    assert found is not None
    return found[1]


def test_a_prepared_container_is_the_next_run_s_baseline(run: Run) -> None:
    test = "import pytest\n@pytest.mark.parametrize('n', range(3))\ndef test_it(box, n):\n"
    test += "    print('prepared at', box.fetch('/prepared').decode())\n    box.run_process('rm /prepared')\n"
    first, second, third = run(test, "-s"), run(test, "-s"), run(test, "-s", "--tf-rebuild")
    for result in (first, second, third):
        result.assert_outcomes(passed=3)
    assert prepared_at(first) == prepared_at(second) != prepared_at(third)
    second.stdout.fnmatch_lines(["prepared: box by an earlier run"])
    assert prepared_at(run(test, "-s")) == prepared_at(third)


def test_its_volume_comes_with_it(run: Run, pytester: pytest.Pytester, tiny: str) -> None:
    more = ', volumes={"/data": data}'
    pytester.makeconftest(CONFTEST.format(tiny=tiny, more=more, where="/data/prepared"))
    test = """
        import pytest
        @pytest.mark.parametrize("n", range(2))
        def test_it(box, data, n):
            print("prepared at", box.fetch("/data/prepared").decode())
            box.run_process("rm /data/prepared")
            assert list(box.volumes) == ["/data"]
            assert box.volumes["/data"] is data
        """
    first, second = run(test, "-s"), run(test, "-s")
    for result in (first, second):
        result.assert_outcomes(passed=2)
    second.stdout.fnmatch_lines(["prepared: box by an earlier run"])
    assert prepared_at(first) == prepared_at(second)


@pytest.mark.parametrize("arguments", [(), ("--tf-no-cache",)], ids=["kept", "not kept"])
def test_workers_begin_with_what_one_of_them_has_prepared(
    run: Run, pytester: pytest.Pytester, arguments: tuple[str, ...]
) -> None:
    test = """
        import pathlib, pytest
        @pytest.mark.parametrize("n", range(8))
        def test_it(box, worker_id, n):
            pathlib.Path(f"seen-{worker_id}").write_bytes(box.fetch("/prepared"))
            box.run_process("rm /prepared")
        """
    run(test, "-n2", *arguments).assert_outcomes(passed=8)
    seen = [path.read_text() for path in pytester.path.glob("seen-*")]
    assert len(seen) == 2
    assert len(set(seen)) == 1


def failure_of(result: pytest.RunResult) -> str:
    result.assert_outcomes(failed=1)
    found = re.search(r"^tf resume (f-\w{6}) ", result.stdout.str(), re.MULTILINE)
    assert found is not None
    return found[1]


def test_a_failed_test_s_containers_run_again_as_it_left_them(
    run: Run, tf: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    failure = failure_of(run(FAILS, "--tf-keep=failed"))
    done = tf("resume", failure, "--run", "cat /left; ls /etc/passwd; exit 3")
    assert (done.returncode, done.stdout) == (3, "by the test\n")
    assert "as they were after test_inner.py::test_it" in done.stderr
    assert re.search(r"^side: ready$", done.stderr, re.MULTILINE)
    typed = tf("resume", failure, "--container", "side", stdin="cat /beside; exit 4\n")
    assert (typed.returncode, typed.stdout) == (4, "too")
    again = tf("resume", failure, "--run", "cat /left")
    assert again.stdout == "by the test\n"


def test_what_is_not_there_is_told_with_what_is(run: Run, tf: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    failure = failure_of(run(FAILS, "--tf-keep=failed"))
    unknown = tf("resume", "f-000000")
    assert unknown.returncode == 1
    assert f"kept of failed tests: {failure}" in unknown.stderr
    nobody = tf("resume", failure, "--container", "nobody")
    assert nobody.returncode == 1
    assert "there is no container 'nobody' in it; there is box, side" in nobody.stderr


@pytest.mark.parametrize("mode", ["--logs", "--wait"])
def test_watching_ends_with_ctrl_c(run: Run, mode: str, tmp_path: Path) -> None:
    failure = failure_of(run(FAILS, "--tf-keep=failed"))
    with (tmp_path / "said").open("w+") as said:
        process = subprocess.Popen([*TF, "resume", failure, mode], stdout=said, stderr=said, process_group=0)
        try:
            until(lambda: "side: ready" in (tmp_path / "said").read_text(), "both containers")
        finally:
            process.send_signal(signal.SIGINT)
            code = process.wait(30)
    assert code == 130
    assert "Traceback" not in (tmp_path / "said").read_text()
