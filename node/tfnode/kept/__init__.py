"""Snapshots that outlive containers and sessions: on this node's disk, taken, grown from, removed."""
