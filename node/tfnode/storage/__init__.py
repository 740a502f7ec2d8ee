"""The node's disks: writable trees and their snapshots, behind one interface with several drivers.

Knows nothing of containers, images' origin or the network, and never mounts anything.
"""
