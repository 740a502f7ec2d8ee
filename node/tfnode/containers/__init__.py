"""One container's life on a node, and access to its files."""
