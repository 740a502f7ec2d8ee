"""An inner pytest run with a chain of real services, which the plugin puts back as one."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.support import example_images
from tests.support.daemons import PrivateLocation
from tests.support.line import nothing_more, private_location
from tests.support.runtime_machine import needs_crun

pytestmark = [*needs_crun, pytest.mark.leaks("module")]

CONFTEST = """
    import time
    import pytest
    from pytest_tf import container, ready
    PROXY = '''
        server {{
            listen 8080;
            location / {{ proxy_pass http://{{backend.ip}}/; proxy_connect_timeout 2s; }}
        }}
    '''
    backend = container({nginx!r}, pre_boot_files={{"/usr/share/nginx/html/price": "3.50"}}, ready=ready.http(80, "/price"))
    shop = container(
        {nginx!r},
        pre_boot_files={{"/etc/nginx/conf.d/shop.conf": PROXY}},
        connects=[backend],
        ready=ready.all_of(ready.tcp(80), ready.http(8080, "/price")),
    )
    @pytest.fixture
    def spare():
        def wait(container):
            deadline = time.monotonic() + 60
            while not container.status().spares:
                assert time.monotonic() < deadline, "nothing was booted ahead"
                time.sleep(0.01)
        return wait
"""


@pytest.fixture(scope="module")
def place() -> Iterator[PrivateLocation]:
    example_images.directory()  # building them takes longer than an idle location waits
    with private_location() as place:
        with place.connect() as location:  # what the node keeps once it has had a container and a connection
            location.node().spawn_container(example_images.reference("nginx")).http.get("/")
        yield place


Run = Callable[[str], pytest.RunResult]


@pytest.fixture
def run(pytester: pytest.Pytester, place: PrivateLocation, monkeypatch: pytest.MonkeyPatch) -> Run:
    """An inner run in a process of its own; afterwards the node has what it had before."""
    for name, value in place.environment.items():
        monkeypatch.setenv(name, value)
    pytester.makeconftest(CONFTEST.format(nginx=example_images.reference("nginx")))

    def run(test: str) -> pytest.RunResult:
        pytester.makepyfile(test_inner=test)
        arguments = ("--tf-location=local", "-p", "no:cacheprovider", "-p", "no:randomly", "-p", "no:xdist")
        with nothing_more(place):
            return pytester.runpytest_subprocess(*arguments)

    return run


def test_a_chain_finds_a_generation_that_booted_among_itself(run: Run) -> None:
    """The proxy is ready when it has got an answer of its backend: that must have been its own."""
    result = run(
        """
        import pytest, requests
        def price(shop):
            return requests.get(f"{shop.tunnel(8080).url}/price", timeout=10).text
        @pytest.mark.parametrize("n", range(4))
        def test_it(shop, backend, spare, n):
            assert price(shop) == "3.50"
            backend.put("/usr/share/nginx/html/price", "9.90")
            shop.put("/tmp/mine", "")
            assert price(shop) == "9.90"
            spare(shop)
            assert price(shop) == "9.90"
        """
    )
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["local: 2 containers *, 8 rollbacks (spare p50 *"])


def test_a_chain_that_a_test_leaves_alone_is_clean(run: Run) -> None:
    result = run(
        """
        import pytest
        @pytest.mark.tf_readonly
        @pytest.mark.parametrize("n", range(3))
        def test_it(shop, backend, n): pass
        """
    )
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["local: 2 containers *, 6 rollbacks (clean)"])
