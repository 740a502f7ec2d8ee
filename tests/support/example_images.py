"""Where the example images are: `reference("nginx")` names one as a user would; they are built if they are missing."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

BUILD = Path(__file__).parents[2] / "examples" / "images" / "build.py"


def reference(name: str) -> str:
    """The image `nginx`, `postgres` or `redis` as an argument for `spawn_container`."""
    return f"oci:{directory() / name}:latest"


@cache
def directory() -> Path:
    """The directory with one OCI layout per image; skips the test where they cannot be built, with the builder's reason."""
    said = subprocess.run([sys.executable, BUILD, "--print-dir"], capture_output=True, text=True, check=True)
    path = Path(said.stdout.strip())
    if not os.access(path.parent, os.W_OK) and (path / "nginx" / "index.json").exists():
        return path  # another user's, who has put all of them there at once
    environment = os.environ | {"TF_EXAMPLE_IMAGES": str(path)}
    built = subprocess.run([sys.executable, BUILD], env=environment, capture_output=True, text=True, check=False)
    if built.returncode != 0:
        pytest.skip(built.stderr.strip())
    return path
