"""Where the example images are: `make images` has built them, and so has `make demo`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

BUILDER = Path(__file__).parent / "images" / "build.py"


@pytest.fixture(scope="session")
def images() -> str:
    """The directory of the example images. In your own suite you would just write "nginx" or "postgres:16"."""
    given = os.environ.get("TF_EXAMPLE_IMAGES")
    return given or subprocess.check_output([sys.executable, BUILDER, "--print-dir"], text=True).strip()
