"""What is said in short about rollbacks and their peers: which figures, in the table of the page and in the picture."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks import chart
from benchmarks.comparison import comparisons
from benchmarks.document import rendered
from benchmarks.drawing import LEFT, RIGHT, Dot, Group, Scale, picture
from benchmarks.measuring import report
from benchmarks.measuring.report import OURS, Report

CIRCUMSTANCES = {
    "date": "2026-01-01",
    "machine": {
        "processor": "Fast One",
        "cores": 2,
        "memory_gib": 24,
        "kernel": "6.1",
        "system": "Debian",
        "python": "3.11",
        "file_system": "ext4",
        "programs": {"crun": "1.8"},
    },
    "docker": "20.10, overlay2",
    "load_before": 0.1,
    "load_after": 0.5,
}
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def document() -> dict[str, object]:
    """nginx beside two peers, two rounds; and two of ours beside each other, which is no comparison with anybody."""
    measured = Report("rollback", "until it answers")
    found = {OURS: [3.0, 5.0, 4.0, 6.0], "slow": [800.0, 1000.0], "quick <one>": [40.0, 50.0]}
    for who, samples in found.items():
        measured.row("nginx", who, samples)
    for who in ("slow", "quick <one>"):
        measured.quotient("nginx", who, OURS, found, rounds=2)
    measured.row("size", "large", [2.0])
    measured.row("size", "small", [1.0])
    measured.quotient("size", "large", "small", {"large": [2.0], "small": [1.0]})
    return measured.document(CIRCUMSTANCES)


def test_each_service_stands_beside_its_peers_the_fastest_first(document: dict[str, object]) -> None:
    (nginx,) = comparisons(document)
    assert (nginx.what, nginx.median, nginx.p95) == ("nginx", 4.5, 6.0)
    assert [(peer.who, peer.median, peer.ratio) for peer in nginx.peers] == [
        ("quick <one>", 45, 10),
        ("slow", 900, 200),
    ]


def test_the_page_has_them_in_one_table(document: dict[str, object]) -> None:
    lines = rendered([document]).splitlines()
    begin = lines.index("| rollback, and what others do instead | pytest-tf, p50 | p95 | quick <one> | slow |")
    assert lines[begin + 1 : begin + 3] == [
        "|---|---|---|---|---|",
        "| nginx | 4.5 ms | 6 ms | 45 ms (10×) | 900 ms (200×) |",
    ]


def test_the_picture_has_every_figure(document: dict[str, object]) -> None:
    root = ElementTree.fromstring(chart.chart(document))
    words = [text.text for text in root.iter(f"{SVG}text")]
    assert {"nginx", "pytest-tf rollback", "4.5 ms", "quick <one>", "45 ms, 10×", "slow", "900 ms, 200×"} <= set(words)
    assert "Measured 2026-01-01, Fast One, 2 cores, Docker 20.10" in words
    classes = [dot.get("class") for dot in root.iter(f"{SVG}circle")]
    assert classes == ["ours", "theirs", "theirs"]


def test_without_docker_the_picture_says_nothing_of_it(document: dict[str, object]) -> None:
    assert "Docker" not in chart.chart({**document, "docker": None})


def test_a_decade_is_as_wide_as_any_other() -> None:
    scale = Scale.over([3.0, 2_000.0])
    assert (scale.at(1), scale.at(10_000)) == (LEFT, RIGHT)
    assert scale.at(100) == (LEFT + RIGHT) / 2


def test_one_figure_alone_has_a_scale(document: dict[str, object]) -> None:
    assert Scale.over([10.0]) == Scale(1, 2)


@pytest.mark.parametrize("values", [[], [0.0, 1.0]])
def test_what_has_no_logarithm_is_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match="above zero"):
        Scale.over(values)


def test_dots_stand_where_the_scale_has_them_and_below_each_other() -> None:
    drawn = picture("t", ["b"], [Group("g", [Dot("one", 1.0, 10.0, "1"), Dot("other", 10.0, 10.0, "10")])])
    root = ElementTree.fromstring(drawn)
    one, other = root.iter(f"{SVG}circle")
    assert (one.get("cx"), other.get("cx")) == (f"{LEFT:.1f}", f"{RIGHT:.1f}")
    assert int(one.get("cy", "")) < int(other.get("cy", ""))
    assert one.get("cy") == next(line for line in root.iter(f"{SVG}line") if line.get("class") == "theirs").get("y1")


def test_both_settings_of_the_reader_have_every_colour() -> None:
    drawn = picture("t", [], [Group("g", [Dot("one", 1.0, 10.0, "1")])])
    light, _, dark = drawn.partition("@media (prefers-color-scheme: dark)")
    used = {name for element in ElementTree.fromstring(drawn).iter() for name in element.get("class", "").split()}
    coloured = used - {"head", "strong"}
    assert coloured == {"ground", "word", "quiet", "rule", "theirs"}
    for setting in (light, dark):
        assert coloured <= set(re.findall(r"\.(\w+) {", setting))


def test_the_command_draws_what_was_measured(document: dict[str, object], tmp_path: Path) -> None:
    report.write(document, tmp_path)
    out = tmp_path / "picture.svg"
    assert chart.main(["--results", str(tmp_path), "--out", str(out)]) == 0
    assert out.read_text() == chart.chart(document)


def test_without_figures_the_command_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "picture.svg"
    assert chart.main(["--results", str(tmp_path), "--out", str(out)]) == 1
    assert "python -m benchmarks.run rollback" in capsys.readouterr().err
    assert not out.exists()


def test_a_run_without_peers_cannot_be_drawn(document: dict[str, object], tmp_path: Path) -> None:
    (tmp_path / "rollback.json").write_text(json.dumps({**document, "quotients": []}))
    assert chart.main(["--results", str(tmp_path), "--out", str(tmp_path / "picture.svg")]) == 1


def test_the_picture_in_the_documentation_shows_the_figures_that_were_measured() -> None:
    measured = json.loads((chart.RESULTS / "rollback.json").read_text())
    assert chart.PICTURE.read_text() == chart.chart(measured), "python -m benchmarks.chart draws it anew"
