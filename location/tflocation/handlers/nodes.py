"""Nodes: joining, and what they tell of themselves."""

from __future__ import annotations

import asyncio
import logging

from tfcore.errors import BadRequest, Unavailable
from tfcore.rpc.dispatcher import Call
from tfcore.wire.containers import ContainerEnded
from tfcore.wire.nodes import JoinLocation, NodeWelcomed, OfferChanged
from tflocation.gc.mark import Verdict
from tflocation.handlers.sessions import principal_of, spoken_version
from tflocation.leases.events import NodeJoined
from tflocation.location import Location
from tflocation.nodes import Node

log = logging.getLogger(__name__)


async def join(location: Location, call: Call, message: JoinLocation) -> NodeWelcomed:
    """A node says hello: at its start, after its agent was restarted, or after its connection was cut."""
    owner = principal_of(location, call, role="node")
    protocol = spoken_version(message.protocol_min, message.protocol_max, who=f"node {owner.name}")
    if message.name != owner.name:
        raise BadRequest(f"this key is node {owner.name}'s, not {message.name}'s")
    node = location.nodes.know(owner)
    if node.incarnation not in ("", message.incarnation):
        _agent_restarted(location, node)
    node.join(incarnation=message.incarnation, version=message.version, now=location.clock())
    location.peers.attach(node, call.peer.identity)
    verdict = location.sweep.judge(node, message.inventory)
    # Runs when the welcome has been sent: a handler's return and the sending are one step of the loop.
    asyncio.get_running_loop().call_soon(_joined, location, node, message, verdict)
    return NodeWelcomed(
        protocol=protocol,
        node=node.id,
        network=str(location.addresses.network),
        lease=location.options.terms.node,
    )


def _agent_restarted(location: Location, node: Node) -> None:
    """The new agent knows nothing of what the old one was asked."""
    gone = Unavailable(f"the agent of node {node.name} was restarted", retryable=True)
    node.link.lost(gone)
    location.forwarding.node_gone(node, gone)


def _joined(location: Location, node: Node, message: JoinLocation, verdict: Verdict) -> None:
    log.info("node %s (%s) has joined, version %s", node.name, node.id, message.version)
    location.offers.update(node, message.offer)
    location.sweep.notify(node, verdict)
    node.link.replay()
    location.forwarding.node_back(node)
    location.leases.handle(NodeJoined(node.id, location.clock(), verdict.owed))
    location.background.start(location.sweep.clear(node, verdict), name=f"sweep of {node.name}")


def offer_changed(location: Location, node: Node, event: OfferChanged) -> None:
    """The node is alive and has this much free."""
    location.offers.update(node, event.offer)


def container_ended(location: Location, node: Node, event: ContainerEnded) -> None:
    """A container's main process has ended, or the container could not be booted: its owner is told.

    The container itself is still there: it can be looked into, rebooted and rolled back.
    """
    container = location.holdings.containers.get(event.container)
    session = None if container is None else location.sessions.get(container.session)
    if container is None or session is None or container.node != node.id:
        log.info("node %s tells the end of %s, which is not (any more) there", node.name, event.container)
        return
    session.tell_ending(event, now=location.clock())
