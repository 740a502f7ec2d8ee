"""A location's directory: what is in it, and how it is made.

location.toml           its configuration
location.key  .pub      the key pair clients pin
operator  .pub          the operator's account: `tf-location status` uses it
location.sqlite         what it remembers
images/                 the image cache
run/                    sockets, unless they are elsewhere
"""

from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path

from tfcore import keys
from tfcore.errors import NotFound, Refused, WrongState
from tfcore.keys import KeyPair
from tflocation import options
from tflocation.auth.accounts import Accounts, Kept
from tflocation.options import ConfigFile
from tflocation.store.database import Database

OPERATOR = "operator"
"""The account that may ask about everything."""


def default_directory() -> Path:
    """Root's is the system's; everybody else's is below their home."""
    if os.geteuid() == 0:
        return Path("/var/lib/tf-location")
    data = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(data) / "tf-location"


class Directory:
    """One location's."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.config = root / "location.toml"
        self.key = root / "location.key"
        self.operator = root / OPERATOR
        self.store = root / "location.sqlite"
        self.images = root / "images"
        self.run = root / "run"

    def make(self, config: ConfigFile) -> None:
        """Make a location's directory: keys, configuration, store, the operator's account.

        Raises:
            WrongState: there is one already.
            Refused: others can write to it.
        """
        if self.key.exists():
            raise WrongState(f"{self.root} holds a location already", hint="use another --dir, or remove it")
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._refuse_loose()
        self.admit("account", OPERATOR, self.operator, operator=True)
        options.write(self.config, config)
        keys.save(self.key, keys.generate())  # last: its presence says that the rest is there

    def admit(self, role: Kept, name: str, path: Path, *, operator: bool = False) -> None:
        """Have an account or node whose key is in `path`, making what is missing of file and entry.

        Raises:
            WrongState: there is one of that name with another key.
        """
        if not path.exists():
            keys.save(path, keys.generate())
        public = keys.load(path).public
        database = Database(self.store)
        try:
            accounts = Accounts(database)
            if accounts.by_key(public) is None:
                accounts.add(role, name, public, operator=operator)
        finally:
            database.close()

    def _refuse_loose(self) -> None:
        info = self.root.stat()
        if info.st_uid not in (0, os.geteuid()):
            owner = _name_of(info.st_uid)
            raise Refused(f"{self.root} is {owner}'s", hint=f"do this as its owner: sudo -u {owner} tf-location ...")
        if stat.S_IMODE(info.st_mode) & 0o022:
            raise Refused(f"{self.root} can be written to by others", hint=f"chmod 700 {self.root}")

    def server_keys(self) -> KeyPair:
        """The location's own pair.

        Raises:
            NotFound: there is no location here.
            Refused: others can read the key, or write to the directory.
        """
        if not self.key.exists():
            raise NotFound(f"there is no location in {self.root}", hint=f"make one: tf-location init --dir {self.root}")
        self._refuse_loose()
        return keys.load(self.key)


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
