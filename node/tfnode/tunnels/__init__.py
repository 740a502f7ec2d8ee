"""TCP connections from clients to containers: relayed here, handed over by local clients, or carried as streams."""
