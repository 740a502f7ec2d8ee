"""The commands of a guide, run word by word on a machine that has nothing but the packages.

The machine is this one, seen from namespaces of their own: an empty /var/lib, /var/log and /run, an /etc and a home whose
changes nobody else sees, a loopback interface and no other network. All processes end with the block.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

NOT_HERE = ("apt-get ", "pip ", "systemctl ")
"""Commands that are the machine's own affair: a test that ran them would change it."""

NAMESPACES = (
    "unshare",
    "--mount",
    "--net",
    "--pid",
    "--fork",
    "--kill-child",
    "--mount-proc",
    "--propagation",
    "private",
)

FRESH = """
set -euo pipefail
ip link set lo up
mount -t tmpfs fresh /mnt
for place in etc root; do
    mkdir -p /mnt/$place/new /mnt/$place/work
    mount -t overlay -o lowerdir=/$place,upperdir=/mnt/$place/new,workdir=/mnt/$place/work fresh /$place
done
for place in /var/lib /var/log /run; do mount -t tmpfs -o mode=755 fresh $place; done
export HOME=/root
cd /root
rm -rf /root/.20ft
MASTER= NODE=
end() { for pid in $NODE $MASTER; do kill $pid 2>/dev/null && wait $pid || true; done; }
trap 'status=$?; end; tail -n 20 /var/log/*.log >&2; exit $status' ERR
"""

SECONDS = 100.0


def commands(guide: Path) -> list[str]:
    """What a reader would type, in order: the lines of console blocks that begin with `$ `."""
    blocks = re.findall(r"^```console\n(.*?)^```", guide.read_text(), re.M | re.S)
    return [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]


def run(lines: list[str]) -> str:
    """Run them, all in one shell; returns what they have written.

    Raises:
        AssertionError: one failed; the message has what was said.
    """
    script = [FRESH]
    for line in lines:
        if not line.startswith(NOT_HERE):
            script += [f"echo {_quoted('$ ' + line)}", line]
    script.append("end")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
    environment["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), environment["PATH"], "/usr/sbin", "/sbin"))
    done = subprocess.run(
        [*NAMESPACES, "bash", "-c", "\n".join(script)],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env=environment, timeout=SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return done.stdout


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
