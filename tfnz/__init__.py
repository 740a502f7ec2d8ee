"""The 20ft SDK: locations, nodes, containers, volumes. Usable without pytest."""
