"""The stock `container` and `volume`: what they are made of, from options and the marker `tf`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from pytest_tf.boot import container_for, volume_for
from pytest_tf.outcomes import fail
from pytest_tf.specs import MARKED, ContainerSpec, VolumeSpec, Where, wrong
from pytest_tf.stash import OPTIONS

if TYPE_CHECKING:
    from tfnz.container import Container
    from tfnz.volume import Volume

FIXTURE = "tf_container"

SPECS: pytest.StashKey[list[ContainerSpec]] = pytest.StashKey()
"""The containers that markers of this run describe."""


def parametrize(metafunc: pytest.Metafunc) -> None:
    """Give the tests that carry the marker `tf` the stock container it describes: a parameter of its fixture, so that
    pytest itself keeps tests with the same container together and ends one before it begins the next.

    Raises:
        pytest.UsageError: what the marker says makes no sense.
    """
    marker = metafunc.definition.get_closest_marker("tf")
    if marker is None or FIXTURE not in metafunc.fixturenames:
        return
    spec = _the_same(metafunc.config, _marked(metafunc, marker))
    metafunc.parametrize(FIXTURE, [spec], indirect=True, scope="session", ids=[_hidden(spec)])


def _the_same(config: pytest.Config, spec: ContainerSpec) -> ContainerSpec:
    """The first spec that was equal: pytest before 8.1 takes a parameter for another one unless it is the same object."""
    known = config.stash.setdefault(SPECS, [])
    if spec not in known:
        known.append(spec)
    return known[known.index(spec)]


def _hidden(spec: ContainerSpec) -> Any:
    """The marker is not to change a test's name, where pytest (8.4) can leave it alone."""
    return getattr(pytest, "HIDDEN_PARAM", spec.image)


def _marked(metafunc: pytest.Metafunc, marker: pytest.Mark) -> ContainerSpec:
    path, line, _ = metafunc.definition.reportinfo()
    where = Where(str(path), (line or 0) + 1)
    unknown = sorted(set(marker.kwargs) - set(MARKED))
    if marker.args or unknown:
        said = ", ".join([*(repr(arg) for arg in marker.args), *unknown])
        raise wrong(where, f"@pytest.mark.tf({said}): give keywords, of {', '.join(MARKED)}")
    image = metafunc.config.stash[OPTIONS].image
    return ContainerSpec(**{"where": where, "image": image or NO_IMAGE, **marker.kwargs})


NO_IMAGE = "(none)"
"""Stands for the image nobody has named; whether that matters is known when the fixture is set up."""


def container_for_stock(request: pytest.FixtureRequest) -> Iterator[Container]:
    """The body of `tf_container`."""
    options = request.config.stash[OPTIONS]
    where = Where(str(request.config.inipath or "the command line"))
    spec = getattr(request, "param", None) or ContainerSpec(where=where, image=options.image or NO_IMAGE)
    if spec.image == NO_IMAGE:
        fail(
            "the fixture 'container' has no image: name one with --tf-image=nginx, tf_image = nginx in the ini file, or "
            '@pytest.mark.tf(image="nginx"); or make a fixture of your own in conftest.py: '
            'db = pytest_tf.container("postgres")'
        )
    if options.mount:
        spec = replace(spec, volumes={options.mount: "tf_volume"})
    yield from container_for(request, spec, {need: request.getfixturevalue(need) for need in spec.needs})


def volume_for_stock(request: pytest.FixtureRequest) -> Iterator[Volume]:
    """The body of `tf_volume`."""
    yield from volume_for(request, VolumeSpec(Where("the stock volume")))
