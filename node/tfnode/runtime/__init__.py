"""Running processes in containers: the seam (`interface`), what it is told (`launch`, `bundle`, `seccomp`), its driver
(`crun`), and what comes out of a container (`stdio`, `log`, `exits`).

Knows nothing of images on disk, networks, snapshots or the wire.
"""
