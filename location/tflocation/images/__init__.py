"""The location's images: blobs on disk, whose they are, how they arrive, and what goes when space is short."""
