"""What an error of the SDK means for pytest: a usage error for the whole run, a skip, or a failure without a wall of
traceback. The SDK's messages already name cause and way out; nothing is reworded here.
"""

from __future__ import annotations

from typing import NoReturn

import pytest

from tfcore.errors import BadRequest, DeadlineExceeded, HostLacks, NotFound, Refused, TfError, Unavailable

MISTAKEN = (BadRequest, NotFound, Refused)
"""The location, the account or an option is wrong: no test that needs it can run, whatever is done about the network."""

MISSING = (Unavailable, HostLacks, DeadlineExceeded)
"""There is no location to be had now: `--tf-missing` says what happens."""


class NoLocation(Exception):
    """`--tf-location=none`."""


def fail(message: str) -> NoReturn:
    """Fail with a message that says all: no traceback, and not the error it was made of once more."""
    raise pytest.fail.Exception(message, pytrace=False) from None


def stop_test(error: TfError | NoLocation, *, missing: str) -> NoReturn:
    """End the set-up of a test for want of a location.

    Args:
        missing: the value of `--tf-missing`.
    """
    if isinstance(error, NoLocation):
        pytest.skip("needs a location, and --tf-location=none")
    if missing == "skip" and isinstance(error, MISSING):
        pytest.skip(f"no location: {error}")
    fail(f"no location: {error}")
