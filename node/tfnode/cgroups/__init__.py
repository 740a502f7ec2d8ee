"""Control groups of a node: one parent per node, a group per generation, one per container below it.

What a machine has is found out once (`layout`), each way of having it is one driver (`v1`, `v2`, `without`), and the rest of
the agent holds a `Group`. Knows nothing of containers.
"""

from tfnode.cgroups.group import Group, Usage
from tfnode.cgroups.node import end_node_groups, node_group_names, open_node_group
from tfnode.cgroups.private import private_hierarchies

__all__ = [
    "Group",
    "Usage",
    "end_node_groups",
    "node_group_names",
    "open_node_group",
    "private_hierarchies",
]
