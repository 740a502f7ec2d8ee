"""Where the plugin keeps what belongs to one run: typed keys into `config.stash`.

Loaded in every pytest run: imports pytest only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pytest_tf.arbiter import Arbiter
    from pytest_tf.options import Options
    from pytest_tf.session import Session

OPTIONS: pytest.StashKey[Options] = pytest.StashKey()
"""What was asked for."""

SESSION: pytest.StashKey[Session] = pytest.StashKey()
"""This process's session with a location; there once something has asked for it, not necessarily open."""

PLACE: pytest.StashKey[int] = pytest.StashKey()
"""Of a test that others build on, or that builds on others: when it was collected. Of a session: how many there were."""

HOOKS = "tf-isolation"
"""The name the hooks of an open session are registered by."""

ARBITER: pytest.StashKey[Arbiter] = pytest.StashKey()
"""In xdist's controller: who says which worker boots what, if workers share containers."""

WORKERS = pytest.StashKey[list[dict[str, Any]]]()
"""In xdist's controller: the figures its workers have sent."""
