"""Inner pytest runs on a real private location: what a location in memory cannot show."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import example_images
from tests.support.daemons import PrivateLocation, until
from tests.support.line import nothing_more, private_location
from tests.support.runtime_machine import needs_crun

pytestmark = [*needs_crun, pytest.mark.leaks("module")]

INDEX = "/usr/share/nginx/html/index.html"
CONFTEST = """
    import pytest
    from pytest_tf import container, ready, volume
    INDEX = "/usr/share/nginx/html/index.html"
    web = container({nginx!r}, pre_boot_files={{INDEX: "first"}}, ready=ready.http(80))
"""


@pytest.fixture(scope="module")
def place() -> Iterator[PrivateLocation]:
    example_images.directory()  # building them takes longer than an idle location waits
    with private_location() as place:
        with place.connect() as location:  # what the node keeps once it has had a container and a connection
            location.node().spawn_container(example_images.reference("nginx")).http.get("/")
        yield place


Run = Callable[..., pytest.RunResult]


@pytest.fixture
def run(pytester: pytest.Pytester, place: PrivateLocation, monkeypatch: pytest.MonkeyPatch) -> Run:
    """An inner run in a process of its own; afterwards the node has what it had before."""
    for name, value in place.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AGENT", str(place.node.agent))
    pytester.makeconftest(CONFTEST.format(nginx=example_images.reference("nginx")))

    def run(test: str, *arguments: str) -> pytest.RunResult:
        pytester.makepyfile(test_inner=test)
        with nothing_more(place):
            return pytester.runpytest_subprocess("--tf-location=local", "-p", "no:cacheprovider", *arguments)

    return run


def test_each_test_finds_files_and_service_as_they_were(run: Run) -> None:
    result = run(
        """
        import pytest
        @pytest.mark.parametrize("n", range(5))
        def test_it(web, n):
            assert web.http.get("/").text == "first"
            web.put("/usr/share/nginx/html/index.html", f"defaced {n}")
            assert web.http.get("/").text == f"defaced {n}"
            if n % 2:
                web.run_process("nginx -s stop")
        """
    )
    result.assert_outcomes(passed=5)
    result.stdout.fnmatch_lines(["local: 1 container (slowest boot *), 1 baseline, 5 rollbacks (* p50 * p95 *)"])


def test_a_late_session_fixture_is_in_the_next_baseline(run: Run) -> None:
    result = run(
        """
        import pytest
        @pytest.fixture(scope="session")
        def page(web):
            web.put("/usr/share/nginx/html/late", "late")
        def test_before(web):
            assert web.http.get("/late").status_code == 404
        @pytest.mark.parametrize("n", range(2))
        def test_with(web, page, n):
            assert web.http.get("/late").text == "late"
            web.run_process("rm /usr/share/nginx/html/late")
        """
    )
    result.assert_outcomes(passed=3)


def test_levels_lie_inside_one_another(run: Run, pytester: pytest.Pytester) -> None:
    """Files of the container and of its volume."""
    pytester.makepyfile(
        test_a=f"""
        import pytest
        from pytest_tf import container, volume
        data = volume()
        db = container({example_images.reference("nginx")!r}, volumes={{"/data": data}})
        def names(db):
            return db.run_process("ls /data /opt").stdout.decode().split()
        def add(db, name):
            db.run_process(f"touch /data/{{name}} /opt/{{name}}")
        @pytest.fixture(scope="session")
        def late(db):
            add(db, "late")
        @pytest.fixture(scope="module", autouse=True)
        def table(db):
            add(db, "module")
            yield
            assert names(db).count("module") == 2 and "class" not in names(db)
        class TestIt:
            @pytest.fixture(scope="class", autouse=True)
            @classmethod
            def rows(cls, db, table):
                add(db, "class")
            @pytest.mark.parametrize("n", range(3))
            def test_it(self, db, n):
                assert sorted(set(names(db))) == ["/data:", "/opt:", "class", "module"]
                add(db, "test")
        def test_by_hand(db):
            base = db.snapshot("mine")
            with db.checkpoint():
                add(db, "checked")
            add(db, "test")
            db.rollback(base)
            assert sorted(set(names(db))) == ["/data:", "/opt:", "module"]
            add(db, "test")
        def test_with(db, late):
            assert sorted(set(names(db))) == ["/data:", "/opt:", "late", "module"]
            add(db, "test")
        """
    )
    result = run("def test_web(web):\n    assert web.http.get('/').text == 'first'")
    result.assert_outcomes(passed=6)


def test_volumes_of_the_session_roll_back_with_their_container_and_tagged_ones_do_not(
    run: Run, pytester: pytest.Pytester
) -> None:
    pytester.makeini(f"[pytest]\ntf_image = {example_images.reference('nginx')}\ntf_mount = /data\n")
    result = run(
        """
        import pytest
        from pytest_tf import container, volume
        def test_one(container):
            assert container.run_process("ls /data").stdout == b""
            container.put("/data/a", "1")
        def test_two(container):
            assert container.run_process("ls /data").stdout == b""
        """
    )
    result.assert_outcomes(passed=2)


def test_containers_may_share_a_volume(run: Run) -> None:
    nginx = example_images.reference("nginx")
    result = run(
        f"""
        import pytest
        from pytest_tf import container, volume
        uploads = volume()
        a = container({nginx!r}, volumes={{"/up": uploads}})
        b = container({nginx!r}, volumes={{"/up": uploads}})
        @pytest.fixture(scope="session")
        def seeded(a):
            a.put("/up/seed", "s")
        @pytest.mark.parametrize("n", range(4))
        def test_both(a, b, seeded, n):
            assert a.run_process("ls /up").stdout == b.run_process("ls /up").stdout == b"seed\\n"
            writer, reader = (a, b) if n % 2 else (b, a)
            writer.run_process("rm /up/seed; echo new > /up/new")
            assert reader.run_process("cat /up/*").stdout == b"new\\n"
        def test_one(b, seeded):
            assert b.run_process("ls /up").stdout == b"seed\\n"
            b.run_process("rm /up/seed")
        def test_other(a, seeded):
            assert a.run_process("ls /up").stdout == b"seed\\n"
        """
    )
    result.assert_outcomes(passed=6)


def test_a_failure_shows_the_lines_of_its_own_test(run: Run) -> None:
    result = run(
        """
        def test_before(web):
            web.http.get("/before")
        def test_it(web):
            web.http.get("/during")
            assert False
        """
    )
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            "*tf web: log during this test (*",
            "*GET /during*",
            "*tf web: state*",
            "ready, generation 2, * processes, * MiB, 127.0.0.1:* → port 80*",
        ]
    )
    assert not any("GET /before" in line for line in result.stdout.lines)


def test_a_failure_shows_what_its_test_has_changed_and_the_summary_what_was_left(run: Run) -> None:
    result = run(
        """
        import pytest
        BACKGROUND = ">/dev/null 2>&1 </dev/null &"
        @pytest.fixture(scope="session")
        def page(web):
            web.put("/page", "before")
        @pytest.mark.parametrize("n", range(3))
        def test_it(web, page, n):
            if n != 1:
                return
            web.put("/page", "after it")
            web.run_process(f"echo > /tmp/new; sleep 1234 {BACKGROUND}")
            web.http.get("/")
            assert False
        """,
        "--tf-leaks=all",
    )
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(
        [
            "*tf web: log during this test (*",
            "*tf web: changed since snapshot (* files, *1 process)*",
            "changed * 6 B → 8 B  /page",
            "added * 1 B  /tmp/new",
            "process new *  sleep 1234",
            "*tf web: state*",
            "leaks: test_inner.py::test_it[[]1[]] left 1 process in web (sleep 1234)",
            "leaks: test_inner.py::test_it[[]1[]] left 1 file in web (/tmp/new)",
        ]
    )
    assert len([line for line in result.stdout.lines if line.startswith("leaks: ")]) == 2


POLLUTED = """
    import pytest
    from pytest_tf import container
    BACKGROUND = ">/dev/null 2>&1 </dev/null &"
    @pytest.fixture(scope="session")
    def page(web):
        web.put("/page", "before")
    @pytest.mark.parametrize("n", range(5))
    def test_one(web, other, page, n):
        web.put(f"/one{{n}}", "x")
        if n == 3:
            other.put("{spoilt}", "x")
            other.run_process(f"{command} {{BACKGROUND}}")
    def test_two(web, other):
        web.http.get("/")
    def test_target(web, other, page):
        assert web.fetch("/page") == b"before"
        assert other.run_process("test ! -e /spoilt").exit_code == 0
        assert b"sleep" not in other.run_process("cat /proc/[0-9]*/comm").stdout
"""


@pytest.mark.parametrize(
    ("spoilt", "command", "code"), [("/spoilt", "true", 0), ("/other", "sleep 1234", 8), ("/other", "true", 6)]
)
def test_bisecting(run: Run, pytester: pytest.Pytester, spoilt: str, command: str, code: int) -> None:
    nginx = example_images.reference("nginx")
    pytester.makeconftest(f"{CONFTEST.format(nginx=nginx)}    other = container({nginx!r}, connects=[web])\n")
    suite = POLLUTED.format(spoilt=spoilt, command=command)
    result = run(suite, "--tf-bisect=test_inner.py::test_target")
    assert result.ret == code
    if code == 0:
        result.stdout.fnmatch_lines(
            [
                "test_inner.py::test_one[[]3[]] makes test_inner.py::test_target fail",
                "what it has changed in other (1 file, 1 B):",
                "  added * 1 B  /spoilt",
                "it is enough: *",
            ]
        )


def test_a_container_whose_agent_was_killed_is_built_again_from_its_baseline(run: Run) -> None:
    """The test that loses it says so, the next one finds everything in place, address and local port included."""
    result = run(
        """
        import os, signal, pytest
        @pytest.fixture(scope="session")
        def seeded(web):
            web.put("/usr/share/nginx/html/seed", "seed")
            return web, web.ip, web.tunnel(80).url
        def test_one(seeded):
            os.kill(int(os.environ["AGENT"]), signal.SIGKILL)
        @pytest.mark.parametrize("n", range(2))
        def test_two(seeded, n):
            web, ip, url = seeded
            assert (web.ip, web.tunnel(80).url) == (ip, url)
            assert web.http.get("/seed").text == "seed"
            web.put("/usr/share/nginx/html/seed", "spoilt")
        """
    )
    result.assert_outcomes(passed=3, errors=1)
    result.stdout.fnmatch_lines(
        [
            "*ERROR at teardown of test_one*",
            "web could not be rolled back after test_inner.py::test_one: *",
            "It was built again from its baseline for the next test.",
            "built again from their baseline: web",
        ]
    )


def test_an_image_nobody_has_is_one_clear_sentence(run: Run) -> None:
    result = run("def test_it(container): pass", "--tf-image=nobody/has:this")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["container, made at the command line: *nobody/has:this*"])
    assert "Traceback" not in result.stdout.str()


def test_a_service_that_never_becomes_ready_says_what_was_last_seen(run: Run) -> None:
    result = run(
        f"""
        from pytest_tf import container, ready
        slow = container({example_images.reference("nginx")!r}, ready=ready.tcp(9), timeout=1)
        def test_it(slow): pass
        """
    )
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["slow, made at *test_inner.py:2: *port 9: *refused*"])


def test_a_command_before_the_baseline_that_fails_fails_the_test(run: Run) -> None:
    result = run(
        f"""
        from pytest_tf import container, ready
        bad = container({example_images.reference("nginx")!r}, before_snapshot="echo no room; exit 3")
        def test_it(bad): pass
        """
    )
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["the baseline of bad could not be taken: *status 3: no room*"])


def test_a_container_made_in_a_test_is_gone_after_it(run: Run) -> None:
    result = run(
        f"""
        def test_one(make_container, location):
            web = make_container({example_images.reference("nginx")!r})
            assert web.http.get("/").status_code == 200
            assert list(location.containers) == [web.uuid]
        def test_two(location):
            assert not location.containers
        """
    )
    result.assert_outcomes(passed=2)


INTERRUPTED = """
    import os, signal, time
    def test_it(web):
        web.put("/a", "b")
        open("begun", "w").close()
        time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_is_ended_in_the_middle_leaves_nothing(
    place: PrivateLocation, run: Run, pytester: pytest.Pytester, number: signal.Signals
) -> None:
    pytester.makepyfile(test_inner=INTERRUPTED)
    command = [sys.executable, "-m", "pytest", "--tf-location=local", "-p", "no:cacheprovider"]
    with nothing_more(place):
        inner = subprocess.Popen(command, cwd=pytester.path, env=os.environ, stdout=subprocess.PIPE)
        try:
            until(lambda: (pytester.path / "begun").exists(), "the inner test to run")
            inner.send_signal(number)
            said, _ = inner.communicate(timeout=20)
        finally:
            inner.kill()
            inner.wait()
    if number is signal.SIGINT:
        assert inner.returncode == pytest.ExitCode.INTERRUPTED
        assert b"KeyboardInterrupt" in said


def test_a_wrong_account_ends_the_run_with_the_way_out(
    pytester: pytest.Pytester, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TF_HOME", str(tmp_path))
    pytester.makepyfile("def test_it(location): pass")
    result = pytester.runpytest_subprocess("--tf-location=nowhere.example")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: there is no account for location 'nowhere.example'*tf account accept*"])
