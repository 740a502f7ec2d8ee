"""What the location asks about the node itself."""

from __future__ import annotations

from tfcore.rpc.dispatcher import Call
from tfcore.wire.figures import AskFigures, NodeFigures


async def ask_figures(call: Call, _: AskFigures) -> NodeFigures:
    """What this agent has counted since its start."""
    agent = call.peer
    spares = sum(container.spares + agent.groups.spares_of(container.id) for container in agent.containers)
    told: NodeFigures = agent.figures.told(spares=spares)
    return told
