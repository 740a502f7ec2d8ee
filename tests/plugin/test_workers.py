"""Workers of pytest-xdist on a real private location: what a factory's container is when it is ready is booted once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import example_images
from tests.support.daemons import PrivateLocation
from tests.support.line import nothing_more, private_location
from tests.support.rootfs import has_perl, rootfs_tar
from tests.support.runtime_machine import needs_crun

pytestmark = [*needs_crun, pytest.mark.leaks("module")]

CONFTEST = """
    import pytest
    from pytest_tf import container, ready, volume
    BOOT = "test -e /mark || cat /proc/sys/kernel/random/uuid > /mark; cat /mark > /dev/shm/up; exec sleep 1000"
    db = container({tiny!r}, command=["sh", "-c", BOOT], ready=ready.exec("test -s /dev/shm/up"))

    def said(container, command):
        return container.run_process(command).stdout.decode().strip()

    @pytest.fixture(scope="session")
    def note(tmp_path_factory, worker_id):
        notes = tmp_path_factory.getbasetemp().parent / "notes"
        notes.mkdir(exist_ok=True)
        return lambda name, text: (notes / f"{{name}}-{{worker_id}}").write_text(text)
"""
TESTS = """
    import pytest
    from conftest import said
    @pytest.mark.parametrize("n", range(8))
    def test_it(db, note, n):
        note("mark", said(db, "cat /mark"))
        assert said(db, "ls /mine 2> /dev/null") == ""
        said(db, "touch /mine")
"""


@pytest.fixture(scope="module")
def place() -> Iterator[PrivateLocation]:
    example_images.directory()  # building them takes longer than an idle location waits
    with private_location("overlay") as made:
        with made.connect() as location:
            location.node()
        yield made


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    if not has_perl():
        pytest.skip("there is no perl on this machine for the containers to run")
    return f"rootfs:{rootfs_tar(tmp_path_factory.mktemp('image') / 'tiny.tar')}"


Run = Callable[..., pytest.RunResult]


@pytest.fixture
def run(pytester: pytest.Pytester, place: PrivateLocation, monkeypatch: pytest.MonkeyPatch, tiny: str) -> Run:
    """An inner run with two workers, each in a process of its own; afterwards the node has what it had before."""
    for name, value in place.environment.items():
        monkeypatch.setenv(name, value)
    pytester.makeconftest(CONFTEST.format(tiny=tiny))

    def run(test: str, *arguments: str) -> pytest.RunResult:
        pytester.makepyfile(test_inner=test)
        with nothing_more(place):
            done = pytester.runpytest_subprocess(
                "-n2", "--dist=load", "--tf-location=local", "-p", "no:cacheprovider", *arguments
            )
        with place.connect() as location:
            assert location.kept() == [], "a snapshot was not forgotten"
        return done

    return run


def noted(pytester: pytest.Pytester, name: str) -> list[str]:
    """What the workers have noted under a name."""
    return [path.read_text() for path in sorted(Path(pytester.path).rglob(f"notes/{name}-*"))]


def test_it_is_booted_once_for_all(run: Run, pytester: pytest.Pytester) -> None:
    result = run(TESTS)
    result.assert_outcomes(passed=8)
    marks = noted(pytester, "mark")
    assert len(marks) == 2
    assert len(set(marks)) == 1
    result.stdout.fnmatch_lines(["local: 2 containers (1 forked, slowest boot *), 2 baselines, *"])


def test_each_has_its_own_if_that_is_wanted(run: Run, pytester: pytest.Pytester) -> None:
    result = run(TESTS, "--tf-workers=own")
    result.assert_outcomes(passed=8)
    assert len(set(noted(pytester, "mark"))) == 2
    result.stdout.fnmatch_lines(["local: 2 containers (slowest boot *), 2 baselines, *"])


def test_what_fixtures_do_is_each_workers_own(run: Run, pytester: pytest.Pytester) -> None:
    test = """
        import pytest
        from conftest import said
        @pytest.fixture(scope="session", autouse=True)
        def filled(db, worker_id):
            assert said(db, "cat /by 2> /dev/null") == "", "another worker's fixture is seen"
            said(db, f"echo {worker_id} > /by")
        @pytest.mark.parametrize("n", range(8))
        def test_it(db, note, worker_id, n):
            note("mark", said(db, "cat /mark"))
            assert said(db, "cat /by") == worker_id
            said(db, "rm /by")
    """
    run(test).assert_outcomes(passed=8)
    assert len(set(noted(pytester, "mark"))) == 1


def test_several_containers_are_built_side_by_side_by_whoever_is_first(run: Run, pytester: pytest.Pytester) -> None:
    test = """
        import pytest
        from conftest import BOOT, said, container, ready
        from tests_image import IMAGE
        one, two, three = [
            container(IMAGE, command=["sh", "-c", BOOT], env={"N": str(n)}, ready=ready.exec("test -s /dev/shm/up"))
            for n in range(3)
        ]
        data = __import__("pytest_tf").volume()
        own = container(IMAGE, command=["sh", "-c", BOOT], volumes={"/data": data}, ready=ready.exec("test -s /dev/shm/up"))

        @pytest.mark.parametrize("n", range(8))
        def test_it(request, note, n):
            names = ["one", "two", "three", "own"] if n % 2 else ["three", "two", "one", "own"]
            for name in names:
                note(name, said(request.getfixturevalue(name), "cat /mark"))
    """
    pytester.makepyfile(tests_image=f"IMAGE = {_image_of(pytester)!r}")
    run(test).assert_outcomes(passed=8)
    assert [len(set(noted(pytester, name))) for name in ("one", "two", "three", "own")] == [1, 1, 1, 2]


def _image_of(pytester: pytest.Pytester) -> str:
    line = next(line for line in Path(pytester.path, "conftest.py").read_text().splitlines() if "rootfs:" in line)
    return line.split("'")[1]


def test_a_worker_that_dies_takes_nobody_along(run: Run, pytester: pytest.Pytester) -> None:
    """Neither the other worker nor the one in its place builds anything again."""
    test = """
        import os, pytest
        from conftest import said
        @pytest.mark.parametrize("n", range(10))
        def test_it(db, note, n):
            note("mark", said(db, "cat /mark"))
            if n == 3:
                os._exit(1)
    """
    run(test).assert_outcomes(passed=9, failed=1)
    assert len(noted(pytester, "mark")) >= 2
    assert len(set(noted(pytester, "mark"))) == 1


def test_a_database_is_initialized_once(run: Run, pytester: pytest.Pytester) -> None:
    conftest = f"""
        import pytest
        from pytest_tf import container
        db = container({example_images.reference("postgres")!r}, env={{"POSTGRES_HOST_AUTH_METHOD": "trust"}})
        @pytest.fixture(scope="session")
        def note(tmp_path_factory, worker_id):
            notes = tmp_path_factory.getbasetemp().parent / "notes"
            notes.mkdir(exist_ok=True)
            return lambda name, text: (notes / f"{{name}}-{{worker_id}}").write_text(text)
    """
    pytester.makeconftest(conftest)
    test = """
        import psycopg, pytest
        @pytest.mark.parametrize("n", range(6))
        def test_it(db, note, n):
            with psycopg.connect(f"host=127.0.0.1 port={db.tunnel(5432).localport} user=postgres") as connected:
                connected.execute("CREATE TABLE t (n int)")
                (identity,) = connected.execute("SELECT system_identifier FROM pg_control_system()").fetchone()
            note("system", str(identity))
    """
    run(test).assert_outcomes(passed=6)
    assert len(set(noted(pytester, "system"))) == 1
    assert len(noted(pytester, "system")) == 2
