"""How messages travel: sockets, dispatch, calls, streams. Knows no message's meaning."""
