"""What the plugin costs runs that do not use it: nothing is loaded, nothing is hooked."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {"msgspec", "zmq", "requests", "docker", "libnacl", "filelock", "dns", "tfnz", "tfcore"}


def loaded_after(pytester: pytest.Pytester, test: str, *arguments: str) -> set[str]:
    """The top-level modules a run has loaded when it ends."""
    pytester.makeconftest(
        """
        import sys
        def pytest_unconfigure(config):
            print("loaded:", *sorted({name.partition(".")[0] for name in sys.modules}))
            print("hooks:", config.pluginmanager.has_plugin("tf-isolation"))
        """
    )
    pytester.makepyfile(test_inner=test)
    result = pytester.runpytest_subprocess("-p", "no:xdist", *arguments)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["hooks: False"])
    line = next(line for line in result.stdout.lines if line.startswith("loaded:"))
    return set(line.split()[1:])


def test_a_run_that_uses_none_of_our_fixtures_loads_none_of_our_libraries(pytester: pytest.Pytester) -> None:
    assert not loaded_after(pytester, "def test_it(tmp_path): pass") & HEAVY


def test_options_alone_load_nothing_either(pytester: pytest.Pytester) -> None:
    assert not loaded_after(pytester, "def test_it(): pass", "--tf-location=local", "--tf-image=nginx") & HEAVY


def test_importing_the_package_loads_nothing() -> None:
    script = f"import sys, pytest_tf; print(*sorted({HEAVY!r} & set(sys.modules)))"
    assert subprocess.check_output([sys.executable, "-c", script], text=True).split() == []


def test_its_public_names_are_these() -> None:
    import pytest_tf

    assert sorted(pytest_tf.__all__) == ["Container", "Location", "Volume", "container", "ready", "volume"]
    assert all(getattr(pytest_tf, name) is not None for name in pytest_tf.__all__)
    assert set(pytest_tf.__all__) <= set(dir(pytest_tf))
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = pytest_tf.nothing
