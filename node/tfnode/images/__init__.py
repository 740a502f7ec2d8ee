"""Image layers on a node's disk: read from tar, unpacked for overlayfs, shared by all containers."""
