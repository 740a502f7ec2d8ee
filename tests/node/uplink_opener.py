"""A process that opens an uplink from its own network namespace to a fresh one, says its name, and waits to be killed."""

from __future__ import annotations

import signal
import sys

from tfnode.kernel.namespaces import make_netns
from tfnode.network.uplink import Outgoing, open_uplink

uplink = open_uplink(make_netns(), Outgoing.ON)
sys.stdout.write(f"{uplink.link}\n")
sys.stdout.flush()
signal.pause()
