"""The processes a node is made of: launcher, keeper and agent, and what each of them does for the others.

Knows nothing of containers, networks or the wire: what the agent does for a living is handed in.
"""
