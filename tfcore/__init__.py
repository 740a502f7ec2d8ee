"""What every part of pytest-tf shares: errors, ids, keys, clock, undo, commands, the wire.

Depends on the standard library, msgspec, pyzmq and libnacl; never on the plugin, the SDK or a daemon.
"""

VERSION = "0.1.0"
"""The version of all parts; they are released together."""
