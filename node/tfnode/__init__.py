"""The node agent: runs containers with an OCI runtime, keeps their storage and network, snapshots and rolls back."""
