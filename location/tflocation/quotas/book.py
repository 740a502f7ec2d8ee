"""The limits of accounts as the store has them, looked up each time: an operator's change holds for the next request.

They belong to a name, as volumes and images do: who is revoked and invited again finds the same limits. Knows no use.
"""

from __future__ import annotations

from collections.abc import Mapping

from tflocation.store.database import Database


class QuotaBook:
    """Who may have how much."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, account: str) -> dict[str, float]:
        """An account's limits by kind; a kind that is not there is not limited."""
        rows = self._database.execute("SELECT kind, most FROM quota WHERE account=?", (account,))
        return {kind: float(most) for kind, most in rows}

    def all(self) -> dict[str, dict[str, float]]:
        """Every account's that has any."""
        found: dict[str, dict[str, float]] = {}
        for account, kind, most in self._database.execute("SELECT account, kind, most FROM quota"):
            found.setdefault(account, {})[kind] = float(most)
        return found

    def change(self, account: str, changes: Mapping[str, float | None]) -> None:
        """Set limits, or with None take them away; all of them or none. The others stay."""
        with self._database.transaction():
            for kind, most in changes.items():
                self._database.execute("DELETE FROM quota WHERE account=? AND kind=?", (account, kind))
                if most is not None:
                    self._database.execute("INSERT INTO quota VALUES (?, ?, ?)", (account, kind, most))
