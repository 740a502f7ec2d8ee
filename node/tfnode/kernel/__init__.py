"""What the agent asks of the kernel directly: namespaces, mounts, descriptors. Knows nothing of containers."""
