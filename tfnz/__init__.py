"""The 20ft SDK: locations, nodes, containers, volumes. Usable without pytest.

`from tfnz import *` gives the modules, as seed 002 writes it: `location.Location()`. `import tfnz` alone loads none of them.
"""

__all__ = ["container", "location", "node", "ready", "tunnel", "volume"]
