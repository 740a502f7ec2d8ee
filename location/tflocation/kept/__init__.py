"""Snapshots that belong to accounts: which there are, when each goes, how they are taken away."""
