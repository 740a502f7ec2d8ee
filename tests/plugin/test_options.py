"""Options and their ini twins, and what is said when there is no location to be had."""

from __future__ import annotations

import pytest

from pytest_tf.options import OPTIONS, Options, add_options, read_options
from tests.plugin.conftest import Run
from tests.plugin.fake_sdk import World
from tfcore.errors import HostLacks, NotFound, TfError, Unavailable, UnknownKey, VersionMismatch, WrongServerKey

USES = "def test_it(location): pass\ndef test_plain(): pass"


def options_of(pytester: pytest.Pytester, *arguments: str, ini: str = "") -> Options:
    pytester.makeini(f"[pytest]\n{ini}")
    return read_options(pytester.parseconfigure(*arguments))


def test_the_defaults(pytester: pytest.Pytester) -> None:
    assert options_of(pytester) == Options(
        location="auto",
        location_ip="",
        image="",
        isolate="test",
        isolate_all="",
        keep="none",
        keep_count=3,
        keep_for=86400.0,
        logs="failed",
        cache="on",
        leaks="processes",
        durations=0,
        missing="fail",
        workers="fork",
        mount="",
        late="rebase",
        bisect="",
        given=(),
    )


SAMPLES = {
    "location": "tiny.20ft.nz",
    "location-ip": "10.0.0.1:5555",
    "image": "nginx",
    "isolate": "module",
    "keep": "failed",
    "keep-count": "7",
    "keep-for": "90m",
    "logs": "all",
    "cache": "rebuild",
    "leaks": "files",
    "durations": "3",
    "missing": "skip",
    "workers": "own",
}


OTHERS = {"isolate": "class", "keep": "all", "logs": "none", "durations": "5", "missing": "local", "cache": "off"}
OTHERS |= {"leaks": "all", "workers": "fork", "keep-count": "1", "keep-for": "2d"}
READ = {"keep-for": "5400.0", "2d": "172800.0"}
"""What is made of a value, where it is not the same."""


def test_every_option_has_a_sample() -> None:
    assert {option.name for option in OPTIONS} == set(SAMPLES)


@pytest.mark.parametrize(("name", "value"), SAMPLES.items())
def test_each_option_has_an_ini_twin_that_the_command_line_overrides(
    pytester: pytest.Pytester, name: str, value: str
) -> None:
    key = name.replace("-", "_")
    written = options_of(pytester, ini=f"tf_{key} = {value}")
    assert str(getattr(written, key)) == READ.get(name, value)
    assert written.given == (name,)
    other = OTHERS.get(name, "other")
    typed = options_of(pytester, f"--tf-{name}={other}", ini=f"tf_{key} = {value}")
    assert str(typed.isolate_all if name == "isolate" else getattr(typed, key)) == READ.get(other, other)


def test_the_command_line_overrides_how_factories_isolate_and_the_ini_file_does_not(
    run: Run, world: World, pytester: pytest.Pytester
) -> None:
    pytester.makeini("[pytest]\ntf_isolate = none\n")
    conftest = 'from pytest_tf import container\nsays = container("a", isolate="test")\nsilent = container("b")\n'
    test = "def test_it(says, silent): pass"
    run(test, conftest=conftest).assert_outcomes(passed=1)
    assert world.that("rollback") == ["rollback says s1"]
    run(test, "--tf-isolate=none", conftest=conftest).assert_outcomes(passed=1)
    assert world.that("rollback") == ["rollback says s1"]


@pytest.mark.parametrize(
    ("ini", "message"),
    [
        (
            "tf_isolate = often",
            "tf_isolate = often in the ini file: choose one of test, class, module, package, *",
        ),
        ("tf_durations = many", "--tf-durations=many: give the number of lines to show"),
        ("tf_keep_count = few", "--tf-keep-count=few: give the number of failed tests to keep"),
        ("tf_keep_for = 24", "--tf-keep-for=24: give a number of minutes, hours or days: 90m, 24h, 7d"),
        ("tf_mount = data", "tf_mount = data in the ini file: give an absolute path in the container"),
    ],
)
def test_a_value_that_makes_no_sense_ends_the_run(run: Run, pytester: pytest.Pytester, ini: str, message: str) -> None:
    pytester.makeini(f"[pytest]\n{ini}\n")
    result = run(USES)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {message}"])


def test_argparse_refuses_what_it_can(run: Run) -> None:
    result = run(USES, "--tf-keep=everything")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--tf-keep: invalid choice: 'everything'*"])


def test_help_reads_well(run: Run) -> None:
    text = run("", "--help").stdout.str()
    for option in OPTIONS:
        assert f"--tf-{option.name}=" in text
        assert f"\n  {option.dest} (string):" in text
    assert "pytest-tf: containers that are rolled back after each test:" in text


def test_the_marker_is_listed(run: Run) -> None:
    run("", "--markers").stdout.fnmatch_lines(["@pytest.mark.tf(image=..., env=..., isolate=..., ...): what*"])


def test_address_and_location_are_passed_on(run: Run, world: World) -> None:
    run(USES, "--tf-location=tiny.20ft.nz", "--tf-location-ip=127.0.0.1:1").assert_outcomes(passed=2)
    assert world.happened[0] == "connect tiny.20ft.nz at 127.0.0.1:1"


def test_auto_is_the_default_account_s_location(
    run: Run, world: World, tmp_path: object, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = pytester.mkdir("home")
    (home / "default_location").write_text("tiny.20ft.nz\n")
    monkeypatch.setenv("TF_HOME", str(home))
    run(USES).assert_outcomes(passed=2)
    assert world.happened[0] == "connect tiny.20ft.nz"


def test_none_skips_what_needs_a_location(run: Run, world: World) -> None:
    result = run(USES, "--tf-location=none", "-rs")
    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines(["SKIPPED*needs a location, and --tf-location=none"])
    assert world.happened == []


@pytest.mark.parametrize(
    "error",
    [
        NotFound("there is no account for location 'nowhere'", hint="ask its operator for an invitation"),
        UnknownKey("nowhere does not know this key"),
        WrongServerKey("nowhere shows another key than the one pinned"),
        VersionMismatch("nowhere speaks protocols 7 to 9"),
    ],
)
def test_a_wrong_location_or_account_is_a_usage_error_with_the_way_out(run: Run, world: World, error: TfError) -> None:
    world.refuses = error
    result = run(USES, "--tf-location=nowhere")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {error}"])
    assert len(world.happened) == 1


@pytest.mark.parametrize(
    "error", [Unavailable("nowhere does not answer"), HostLacks("a local location needs root", hint="run as root")]
)
@pytest.mark.parametrize(("missing", "outcome"), [("fail", "errors"), ("skip", "skipped")])
def test_a_location_that_cannot_be_reached(run: Run, world: World, error: TfError, missing: str, outcome: str) -> None:
    world.refuses = error
    result = run(
        "def test_it(location): pass\n" + USES.replace("test_it", "test_too"), f"--tf-missing={missing}", "-rs"
    )
    result.assert_outcomes(passed=1, **{outcome: 2})
    result.stdout.fnmatch_lines([f"*no location: {error}"])
    assert len(world.happened) == 1, "one try is enough for all tests"


def test_a_location_that_cannot_be_reached_is_replaced_by_the_local_one(run: Run, world: World) -> None:
    world.refuses = Unavailable("nowhere does not answer")
    original = world.connect

    def connect(name: str, address: str | None) -> object:
        if name == "local":
            world.refuses = None
        return original(name, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pytest_tf.session.connect", connect)
        run(USES, "--tf-location=nowhere", "--tf-missing=local").assert_outcomes(passed=2)
    assert world.happened == ["connect nowhere", "connect local", "disconnect"]


def test_a_run_that_could_not_be_collected_opens_no_session(run: Run, world: World, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_broken="import nothing_like_this")
    run(USES).assert_outcomes(errors=1)
    assert world.happened == []


def test_the_header_says_what_was_set(run: Run) -> None:
    result = run(USES, "--tf-location=tiny.20ft.nz", "--tf-isolate=class")
    result.stdout.fnmatch_lines(
        ["tf: location=tiny.20ft.nz, isolate=class", "tf: tiny.20ft.nz (1 node, 20.0 GiB free) for 1 test"]
    )


@pytest.mark.parametrize(("flag", "mode"), [("--tf-rebuild", "rebuild"), ("--tf-no-cache", "off")])
def test_some_values_have_a_flag_of_their_own(pytester: pytest.Pytester, flag: str, mode: str) -> None:
    options = options_of(pytester, flag, ini="tf_cache = on")
    assert (options.cache, options.given) == (mode, ("cache",))


def test_add_options_is_what_the_plugin_declares() -> None:
    """The table is the one place: an option that is not in it has no twin."""
    declared: list[str] = []

    class Group:
        def addoption(self, flag: str, **_: object) -> None:
            declared.append(flag)

    class Parser:
        def getgroup(self, *_: str) -> Group:
            return Group()

        def addini(self, name: str, help: str, default: str) -> None:
            declared.append(name)

    add_options(Parser())  # type: ignore[arg-type]
    assert declared == [text for option in OPTIONS for text in (option.flag, option.dest)] + [
        "--tf-rebuild",
        "--tf-no-cache",
        "--tf-bisect",
        "tf_mount",
        "tf_late_fixtures",
    ]
