"""What a location remembers over a restart: accounts and nodes, sessions, containers, volumes, who may talk to whom."""
