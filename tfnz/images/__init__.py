"""Images on the client's machine: read out of files and the local Docker daemon, and uploaded as far as they are missing."""
