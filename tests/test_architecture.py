"""The house rules a program can check: who imports whom, how long files are, what the plugin costs everybody."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = {
    "pytest_tf": ROOT / "pytest_tf",
    "tfnz": ROOT / "tfnz",
    "tfcore": ROOT / "tfcore",
    "tflocation": ROOT / "location" / "tflocation",
    "tfnode": ROOT / "node" / "tfnode",
}
MAY_IMPORT = {
    "pytest_tf": {"pytest_tf", "tfnz", "tfcore"},
    "tfnz": {"tfnz", "tfcore"},
    "tfcore": {"tfcore"},
    "tflocation": {"tflocation", "tfcore"},
    "tfnode": {"tfnode", "tfcore"},
}
LONGEST = 450
"""Lines of a file; the aim is 100 to 400."""

SAYS_NOTHING = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "base"}


def modules(package: str) -> Iterator[Path]:
    return PACKAGES[package].rglob("*.py")


def imported(path: Path) -> Iterator[str]:
    """The top-level packages a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.partition(".")[0]


@pytest.mark.parametrize("package", PACKAGES)
def test_dependencies_point_one_way(package: str) -> None:
    ours = set(PACKAGES) | {"location", "node"}
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in modules(package)
        for name in imported(path)
        if name in ours - MAY_IMPORT[package]
    ]
    assert not wrong


@pytest.mark.parametrize("package", PACKAGES)
def test_every_module_says_what_it_is_for(package: str) -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in modules(package)
        if path.read_text().strip() and not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert not silent


@pytest.mark.parametrize("package", PACKAGES)
def test_files_stay_small_and_are_named_for_what_they_hold(package: str) -> None:
    long = [str(path.relative_to(ROOT)) for path in modules(package) if len(path.read_text().splitlines()) > LONGEST]
    vague = [str(path.relative_to(ROOT)) for path in modules(package) if path.stem in SAYS_NOTHING]
    assert (long, vague) == ([], [])


def test_test_files_stay_small() -> None:
    tests = sorted((ROOT / "tests").rglob("*.py"))
    assert [str(path.relative_to(ROOT)) for path in tests if len(path.read_text().splitlines()) > LONGEST] == []


def test_location_and_node_are_folders_not_packages() -> None:
    assert not (ROOT / "location" / "__init__.py").exists()
    assert not (ROOT / "node" / "__init__.py").exists()


def names(package: str) -> list[str]:
    top = PACKAGES[package].parent
    found = []
    for path in modules(package):
        if path.stem == "__main__":  # running, not importing, is what it is for
            continue
        parts = path.relative_to(top).with_suffix("").parts
        found.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return sorted(found)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_module_can_be_imported_alone_without_a_warning(package: str) -> None:
    script = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]:\n"
        "    ours = ('pytest_tf', 'tfnz', 'tfcore', 'tflocation', 'tfnode')\n"
        "    for loaded in [m for m in sys.modules if m.partition('.')[0] in ours]:\n"
        "        del sys.modules[loaded]\n"
        "    importlib.import_module(name)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, *names(package)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_the_plugin_loads_nothing_but_pytest_and_the_standard_library() -> None:
    """It is imported in every pytest run of its environment (DESIGN 2)."""
    script = (
        "import sys, pytest, _pytest.config\n"
        "before = set(sys.modules)\n"
        "import pytest_tf.plugin\n"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "print(*sorted(new - set(sys.stdlib_module_names) - {'pytest_tf', 'pytest', '_pytest'}))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
