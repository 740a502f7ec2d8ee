"""The stock fixtures and the marker: what they give, and that a suite may have fixtures of the same names."""

from __future__ import annotations

import pytest

from tests.plugin.conftest import Run
from tests.plugin.fake_sdk import World
from tfcore.errors import BadRequest


def image_of(world: World) -> list[str]:
    return [what for what in world.happened if what.startswith("spawn")]


def test_the_stock_container_is_of_the_image_asked_for(run: Run, world: World) -> None:
    result = run(
        'def test_it(container, location):\n    assert container.image == "nginx"\n    assert location.name == "local"',
        "--tf-image=nginx",
    )
    result.assert_outcomes(passed=1)
    assert world.that("spawn", "destroy") == ["spawn container", "destroy container"]


def test_a_limit_that_was_asked_for_and_is_not_kept_is_a_warning(run: Run, world: World) -> None:
    world.notes = (
        "memory is not limited to 1 bytes: no memory controller",
        "processes are not limited to 4096: no pids",
    )
    result = run(
        """
        from pytest_tf import container
        modest = container("nginx", memory="512m")
        def test_it(modest): pass
        """,
        "-Wdefault",
    )
    result.assert_outcomes(passed=1, warnings=1)
    result.stdout.fnmatch_lines(["*PytestWarning: modest: memory is not limited to 1 bytes: no memory controller"])


def test_without_an_image_the_message_says_how_to_name_one(run: Run) -> None:
    result = run("def test_it(container): pass")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["the fixture 'container' has no image: name one with --tf-image=nginx, tf_image = nginx*"]
    )
    result.stdout.no_fnmatch_line("*Traceback*")


def test_the_marker_says_what_the_stock_container_is(run: Run, world: World) -> None:
    result = run(
        """
        import pytest
        @pytest.mark.tf(image="redis", env={"A": "1"}, isolate="none")
        class TestRedis:
            def test_one(self, container):
                assert (container.image, container.wishes["env"]) == ("redis", {"A": "1"})
                container.put("/a", "1")
            def test_two(self, container):
                assert container.files
        @pytest.mark.tf(env={"B": "2"})
        def test_other(container):
            assert (container.image, container.wishes["env"]) == ("nginx", {"B": "2"})
        def test_plain(container):
            assert (container.image, container.wishes["env"]) == ("nginx", {})
        """,
        "--tf-image=nginx",
        "-v",
    )
    result.assert_outcomes(passed=4)
    assert world.that("spawn", "destroy") == ["spawn container", "destroy container"] * 3


def test_the_marker_leaves_a_test_s_name_alone(run: Run) -> None:
    if not hasattr(pytest, "HIDDEN_PARAM"):
        pytest.skip("pytest before 8.4 has no parameters without a name")
    result = run('import pytest\n@pytest.mark.tf(image="redis")\ndef test_it(container): pass', "-v")
    result.stdout.fnmatch_lines(["test_inner.py::test_it PASSED*"])


@pytest.mark.parametrize(
    ("marker", "message"),
    [
        ('image="redis", colour="red"', "*test_inner.py:2: @pytest.mark.tf(colour): give keywords, of image, env*"),
        ('"redis"', "*test_inner.py:2: @pytest.mark.tf('redis'): give keywords*"),
        ('image="redis", isolate="often"', "*test_inner.py:2: isolate='often': choose one of test, class, module*"),
    ],
)
def test_a_marker_that_makes_no_sense_is_named_by_its_line(run: Run, marker: str, message: str) -> None:
    result = run(f"import pytest\n@pytest.mark.tf({marker})\ndef test_it(container): pass")
    assert result.ret != 0
    result.stdout.fnmatch_lines([message])


def test_the_stock_volume_is_mounted_where_the_ini_file_says(run: Run, world: World, pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\ntf_image = nginx\ntf_mount = /data\n")
    result = run('def test_it(container, volume):\n    assert container.wishes["volumes"] == {"/data": volume}')
    result.assert_outcomes(passed=1)
    assert world.that("volume", "spawn", "destroy") == [
        "volume",
        "spawn container",
        "destroy container",
        "destroy volume",
    ]


@pytest.mark.parametrize("name", ["location", "container", "volume", "make_container"])
def test_a_suite_may_have_a_fixture_of_the_same_name(run: Run, pytester: pytest.Pytester, name: str) -> None:
    pytester.makeini("[pytest]\ntf_image = nginx\ntf_mount = /data\n")
    others = [other for other in ("location", "container", "volume", "make_container") if other != name]
    result = run(
        f"""
        def test_it({name}, {", ".join(others)}, db):
            assert {name} == "mine"
            assert "mine" not in [{", ".join(others)}]
        """,
        conftest=f"""
        import pytest
        from pytest_tf import container as factory
        db = factory("postgres")
        @pytest.fixture(scope="session")
        def {name}():
            return "mine"
        """,
    )
    result.assert_outcomes(passed=1)


def test_a_fixture_that_extends_ours_is_rolled_back_with_it(run: Run, world: World) -> None:
    result = run(
        """
        def test_one(container):
            assert sorted(container.files) == ["/seed"]
            container.files.clear()
        def test_two(container):
            assert sorted(container.files) == ["/seed"]
        """,
        "--tf-image=nginx",
        conftest="""
        import pytest
        @pytest.fixture(scope="session")
        def container(container):
            container.put("/seed", "s")
            return container
        """,
    )
    result.assert_outcomes(passed=2)


def test_containers_made_in_a_test_end_with_it(run: Run, world: World) -> None:
    result = run(
        """
        def test_one(make_container, volume):
            web = make_container("oci:/images/nginx:latest", env={"A": "1"})
            cache = make_container("redis", volumes={"/data": volume}, connects=[web])
            assert cache.wishes["volumes"] == {"/data": volume}
        def test_two(): pass
        """
    )
    result.assert_outcomes(passed=2)
    assert world.that("spawn", "allow", "snapshot", "rollback", "destroy") == [
        "spawn nginx-1",
        "spawn redis-2",
        "allow redis-2 nginx-1",
        "destroy redis-2",
        "destroy nginx-1",
        "destroy volume",
    ]


def test_make_container_refuses_what_it_does_not_know(run: Run) -> None:
    result = run('def test_it(make_container):\n    make_container("nginx", isolate="none")')
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*UsageError: *test_inner.py:2: make_container has no argument isolate; there is env,*"]
    )


def test_a_container_that_does_not_become_ready_says_why_and_is_destroyed(run: Run, world: World) -> None:
    world.fail("ready container", BadRequest("it listens on nothing"))
    result = run("def test_one(container): pass\ndef test_two(container): pass", "--tf-image=nginx")
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(["container, made at *: it listens on nothing"])
    result.stdout.no_fnmatch_line("*During handling*")
    assert world.that("spawn", "destroy") == ["spawn container", "destroy container"]


def test_a_run_without_our_fixtures_opens_no_session(run: Run, world: World) -> None:
    result = run("def test_it(): pass", "--tf-location=local")
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*tf summary*")
    assert world.happened == []


@pytest.mark.parametrize(
    "arguments", [("--collect-only",), ("--fixtures",), ("--fixtures-per-test",), ("--setup-plan",)]
)
def test_looking_is_not_running(run: Run, world: World, arguments: tuple[str, ...]) -> None:
    run("def test_it(container): pass", "--tf-image=nginx", *arguments)
    assert world.happened == []


def test_without_the_plugin_the_fixtures_are_not_there(run: Run, world: World) -> None:
    result = run("def test_it(container): pass\ndef test_plain(): pass", "-p", "no:tf")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*fixture 'container' not found*"])


def test_a_container_first_asked_for_inside_a_test_has_its_baseline_at_once(run: Run, world: World) -> None:
    """Nothing told beforehand that this run needs a location."""
    result = run(
        """
        def test_one(request):
            container = request.getfixturevalue("container")
            container.put("/a", "1")
        def test_two(container):
            assert not container.files
        """,
        "--tf-image=nginx",
        "-k",
        "test_one or test_two",
    )
    result.assert_outcomes(passed=2)


def test_the_session_is_opened_in_the_middle_of_a_test_too(run: Run, world: World) -> None:
    result = run(
        """
        import pytest
        def fixture_of(request):
            return request.getfixturevalue("container")
        @pytest.mark.parametrize("n", range(3))
        def test_it(request, n):
            container = fixture_of(request)
            assert not container.files
            container.put("/a", "1")
        """,
        "--tf-image=nginx",
    )
    result.assert_outcomes(passed=3)
    assert world.that("snapshot") == ["snapshot container s1"]
    assert len(world.that("rollback")) == 3
