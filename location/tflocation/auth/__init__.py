"""Who may connect: accounts, nodes and invitations by their public keys, and ZeroMQ's question about each of them."""
