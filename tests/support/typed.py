"""`tf` and its other names as people type them: programs of their own, at a location of a test's."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.support.daemons import PrivateLocation

SECONDS = 60.0


class Typed:
    """Runs commands where `place` is the private location of its user.

    Args:
        home: where the user's accounts are.
    """

    def __init__(self, place: PrivateLocation, home: Path) -> None:
        self.environment = os.environ | place.environment | {"TF_HOME": str(home), "TERM": "xterm"}

    def __call__(
        self, *words: str, status: int = 0, stdin: bytes = b"", env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run `tf …`; or another script, if the first word is one. It must end so, and never with a traceback."""
        done = subprocess.run(
            self.command(*words), env=self.environment | (env or {}), input=stdin, capture_output=True, timeout=SECONDS
        )
        told = subprocess.CompletedProcess(words, done.returncode, done.stdout.decode(), done.stderr.decode())
        assert told.returncode == status, told
        assert "Traceback" not in told.stderr
        return told

    def started(self, *words: str) -> subprocess.Popen[bytes]:
        """The same, not waited for."""
        return subprocess.Popen(
            self.command(*words),
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def command(self, *words: str) -> list[str]:
        """The words with the program in front."""
        script = Path(sys.executable).parent / words[0]
        if words[0].startswith("tf") and script.exists():
            return [str(script), *words[1:]]
        return [str(script.with_name("tf")), *words]
