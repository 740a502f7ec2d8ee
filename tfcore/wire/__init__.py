"""What travels between client, location and node: one msgspec Struct per message. Knows no sockets."""
