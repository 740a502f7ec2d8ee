"""`pytest_tf.container` and `pytest_tf.volume`: what they make of their arguments, and what they say of wrong ones."""

from __future__ import annotations

import pytest

from tests.plugin.conftest import Run
from tests.plugin.fake_sdk import World
from tfcore.errors import ImageNotFound

IMPORTS = "from pytest_tf import container, ready, volume\n"


def test_every_argument_arrives(run: Run, world: World) -> None:
    result = run(
        """
        def test_it(db, data):
            assert db.image == "postgres"
            assert db.wishes == {
                "hostname": "db", "env": {"A": 1}, "volumes": {"/data": data}, "pre_boot_files": {"/etc/a": b"x"},
                "command": ["run"], "entrypoint": [], "user": "me", "workdir": "/", "memory": "512m", "cpus": 1.5,
                "pids": 9, "ready": READY, "before_snapshot": "save", "after_boot": "load", "clean_stop": True,
                "always_roll_back": True,
            }
        from pytest_tf import ready
        READY = ready.tcp(80)
        """,
        conftest=IMPORTS
        + """
data = volume()
db = container(
    "postgres", env={"A": 1}, volumes={"/data": data}, pre_boot_files={"/etc/a": b"x"}, command=["run"], entrypoint=[],
    user="me", workdir="/", memory="512m", cpus=1.5, pids=9, ready=ready.tcp(80), before_snapshot="save",
    after_boot="load", clean_stop=True, always_roll_back=True,
)
""",
    )
    result.assert_outcomes(passed=1)


def test_fixtures_are_filled_in_and_set_up_first(run: Run, world: World) -> None:
    result = run(
        """
        def test_it(api, db):
            assert api.image == "oci:/images/api"
            assert api.wishes["env"] == {"DB": f"postgres://{db.ip}/x", "JSON": '{"a": {}}'}
            assert api.files == {"/etc/cfg": f"db={db.ip}".encode(), "/raw": b"{db.ip}"}
        """,
        conftest=IMPORTS
        + """
import pytest
@pytest.fixture(scope="session")
def images():
    return "/images"
db = container("postgres")
api = container(
    "oci:{images}/api",
    env={"DB": "postgres://{db.ip}/x", "JSON": '{"a": {}}'},
    pre_boot_files={"/etc/cfg": "db={db.ip}", "/raw": b"{db.ip}"},
    connects=[db],
)
""",
    )
    result.assert_outcomes(passed=1)
    assert world.that("spawn", "ready", "allow")[:4] == ["spawn db", "ready db", "spawn api", "allow api db"]


def test_files_may_be_made_by_a_function(run: Run) -> None:
    result = run(
        'def test_it(db):\n    assert db.files == {"/name": b"db"}',
        conftest=IMPORTS + 'db = container("x", pre_boot_files=lambda request: {"/name": request.fixturename})\n',
    )
    result.assert_outcomes(passed=1)


def test_all_that_a_test_needs_boots_at_the_same_time(run: Run, world: World) -> None:
    result = run(
        "def test_it(a, b, c): pass\ndef test_other(d): pass",
        conftest=IMPORTS + 'a, b, c, d = (container(name) for name in "abcd")\n',
    )
    result.assert_outcomes(passed=2)
    assert world.that("spawn", "ready")[:6] == ["spawn a", "spawn b", "spawn c", "ready a", "ready b", "ready c"]


def test_one_that_cannot_be_spawned_spoils_no_other(run: Run, world: World) -> None:
    world.fail("spawn b", ImageNotFound("there is no image b", hint="docker pull b"))
    result = run(
        "def test_both(a, b): pass\ndef test_a(a): pass",
        conftest=IMPORTS + 'a = container("a")\nb = container("b")\n',
    )
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["b, made at *conftest.py:3: there is no image b (docker pull b)"])


def test_one_that_was_spawned_ahead_is_nobody_s_until_its_fixture_is_set_up(run: Run, world: World) -> None:
    world.fail("ready a", ImageNotFound("a is broken"))
    result = run(
        "def test_both(a, b): pass\ndef test_c(c): pass\ndef test_b(b): pass",
        conftest=IMPORTS + 'a, b, c = (container(name) for name in "abc")\n',
    )
    result.assert_outcomes(passed=2, errors=1)
    assert world.that("spawn", "snapshot") == ["spawn a", "spawn b", "spawn c", "snapshot c s1", "snapshot b s1"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('db = container("")', "image='': give a name such as 'nginx'*"),
        (
            'db = container("x", isolate="tests")',
            "isolate='tests': choose one of test, class, module, package, *",
        ),
        ('db = container("x", env=["A"])', "env=[[]'A'[]]: give a dict"),
        ('db = container("x", env={"A=B": 1})', "'A=B' cannot be the name of an environment variable"),
        ('db = container("x", command="run me")', "command is a list of strings*"),
        ('db = container("x", memory="lots")', "memory='lots' is not a size*"),
        ('db = container("x", pre_boot_files={"etc": ""})', "'etc' is not an absolute path in the container"),
        ('db = container("x", pre_boot_files=7)', "pre_boot_files: give a dict {path: content}, or a function*"),
        ('db = container("x", after_boot=["a"])', "after_boot=*'a'*: give one string"),
        ('db = container("x", timeout=0)', "timeout=0: give seconds"),
        ('db = container("x", volumes={"/a": volume()})', "*is not a fixture of this module: assign it first*"),
        ('db = container("x", volumes="/a")', "volumes='/a': give a dict*"),
        ('db = volume(tag="No Tag")', "'No Tag' cannot be a tag*"),
    ],
)
def test_a_wrong_argument_is_told_with_its_line(run: Run, line: str, message: str) -> None:
    result = run("def test_it(db): pass", conftest=IMPORTS + line + "\n")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*UsageError: *conftest.py:2: {message}"])


def test_an_unknown_attribute_is_told_when_the_container_is_made(run: Run, world: World) -> None:
    result = run(
        "def test_it(api): pass",
        conftest=IMPORTS + 'db = container("a")\napi = container("b", env={"A": "{db.port}"})\n',
    )
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["api, made at *conftest.py:3: {db.port}: *has no attribute 'port'"])


def test_an_unknown_fixture_is_told_by_pytest_with_the_factory_s_line(run: Run) -> None:
    result = run("def test_it(api): pass", conftest=IMPORTS + 'api = container("b", env={"A": "{nobody.ip}"})\n')
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*conftest.py, line 2", "*fixture 'nobody' not found", "*conftest.py:2"])


def test_pytest_shows_the_fixtures_where_they_were_made(run: Run) -> None:
    result = run("", "--fixtures", conftest=IMPORTS + 'db = container("postgres")\ndata = volume(tag="kept")\n')
    result.stdout.fnmatch_lines(
        [
            "*fixtures defined from conftest*",
            "db [[]session scope[]] -- conftest.py:*",
            "    A container of postgres, at its baseline.",
            "data [[]session scope[]] -- conftest.py:*",
            "    A volume, kept.",
            "*fixtures defined from pytest_tf.fixtures*",
            "location [[]session scope[]] -- *",
            "container [[]session scope[]] -- *fixtures.py:*",
            "    A running container of the image named by*",
            "volume [[]session scope[]] -- *",
            "make_container -- *",
        ]
    )


@pytest.mark.parametrize(("scope", "spawned"), [("session", 1), ("module", 1), ("class", 2), ("function", 3)])
def test_scope_is_pytest_s(run: Run, world: World, scope: str, spawned: int) -> None:
    result = run(
        """
        class TestOne:
            def test_a(self, db): db.put("/a", "1")
            def test_b(self, db): assert not db.files
        class TestTwo:
            def test_c(self, db): assert not db.files
        """,
        conftest=IMPORTS + f'db = container("x", scope="{scope}")\n',
    )
    result.assert_outcomes(passed=3)
    assert len(world.that("spawn")) == len(world.that("destroy")) == spawned
    assert bool(world.that("snapshot")) == (scope != "function")


def test_a_tagged_volume_is_found_again_and_left(run: Run, world: World) -> None:
    conftest = IMPORTS + 'data = volume(tag="kept")\ndb = container("x", volumes={"/data": data})\n'
    for _ in range(2):
        run("def test_it(db): pass", conftest=conftest).assert_outcomes(passed=1)
    assert world.that("volume") == ["volume kept"]
    assert "destroy volume" not in world.happened


def test_containers_that_share_a_volume_are_isolated_alike(run: Run, world: World) -> None:
    conftest = (
        IMPORTS + 'data = volume()\na = container("x", volumes={"/d": data})\nb = container("y", volumes={"/d": data}, '
    )
    result = run("def test_it(a, b): pass", conftest=conftest + 'isolate="module")\n')
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        [
            "b, made at *conftest.py:4: a has volume * mounted, too, and is rolled back after each test, not after each mod*"
        ]
    )
    assert "spawn b" not in world.happened


def test_containers_that_share_a_volume_are_rolled_back_together(run: Run, world: World) -> None:
    result = run(
        """
        import pytest
        @pytest.fixture(scope="session")
        def late(a):
            a.put("/late", "l")
        def test_both(a, b, c): pass
        def test_one(a): pass
        def test_late(a, late): pass
        """,
        conftest=IMPORTS
        + """
data = volume()
a = container("x", volumes={"/d": data})
b = container("y", volumes={"/d": data})
kept = volume(tag="kept")
c = container("z", volumes={"/d": kept})
""",
    )
    result.assert_outcomes(passed=3)
    assert sorted(world.that("snapshot")) == [
        "snapshot a s1",
        "snapshot a s2",
        "snapshot b s1",
        "snapshot b s2",
        "snapshot c s1",
    ]
    assert [len([what for what in world.that("rollback") if f" {name} " in what]) for name in "abc"] == [3, 3, 1]


def test_a_factory_in_a_test_module_and_volumes_by_name(run: Run, world: World) -> None:
    result = run(
        """
        from pytest_tf import container, volume
        data = volume()
        db = container("x", volumes={"/data": "data"})
        def test_it(db, data):
            assert db.wishes["volumes"] == {"/data": data}
        """
    )
    result.assert_outcomes(passed=1)
