"""One consistent dump of a location, for `tf-location status` and for bug reports: plain data, no secrets."""

from __future__ import annotations

import dataclasses
import os
import time
from typing import Any

import tfcore
from tfcore.keys import text_of
from tflocation.drains import EVERYTHING
from tflocation.holdings import Container, Volume
from tflocation.images.cache import CacheUsage
from tflocation.kept.shelf import Kept
from tflocation.location import Location
from tflocation.nodes import Node
from tflocation.sessions import Session


def report(location: Location, usage: CacheUsage, *, principal: str = "") -> dict[str, Any]:
    """What there is; of a principal's own sessions only, if one is given.

    Args:
        usage: of the image cache, which counts in a thread.
        principal: a User-Id; "" for everything.
    """
    sessions = location.sessions.of(principal) if principal else list(location.sessions)
    mine = {session.id for session in sessions}
    containers = [c for c in location.holdings.containers.values() if not principal or c.session in mine]
    volumes = [v for v in location.holdings.volumes.values() if not principal or _sees(sessions, v)]
    accounts = {session.account for session in sessions}
    seen = {
        "location": location.options.name,
        "version": tfcore.VERSION,
        "key": text_of(location.server_key),
        "uptime": round(time.time() - location.started, 1),
        "draining": location.drains.since(EVERYTHING) is not None,
        "nodes": [_node(location, node) for node in location.nodes],
        "sessions": [_session(location, session) for session in sessions],
        "containers": [_container(location, container) for container in containers],
        "volumes": [_volume(volume) for volume in volumes],
        "kept": [_kept(kept) for kept in location.kept if not principal or kept.account in accounts],
    }
    return seen if principal else seen | _inside(location, usage)


def _inside(location: Location, usage: CacheUsage) -> dict[str, Any]:
    """What only the operator needs."""
    return {
        "pid": os.getpid(),
        "endpoints": list(location.options.endpoints),
        "accounts": [principal.name for principal in location.accounts.living("account")],
        "images": dataclasses.asdict(usage),
        "addresses": {"network": str(location.addresses.network), "in_use": len(location.addresses.in_use())},
        "messages": dataclasses.asdict(location.broker.counters) | {"under_way": len(location.forwarding)},
        "refused_connections": location.doorkeeper.refused,
        "connections": location.connections.counts(),
        "leases": {session: lease.state for session, lease in location.leases.machine.sessions.items()},
        "story": [str(event) for event in location.leases.machine.story],
    }


def _sees(sessions: list[Session], volume: Volume) -> bool:
    if volume.persistent:
        return any(session.account == volume.account for session in sessions)
    return any(session.id == volume.session for session in sessions)


def _node(location: Location, node: Node) -> dict[str, Any]:
    offer = node.offer
    return {
        "id": node.id,
        "name": node.name,
        "state": "draining" if node.offer.draining and node.state == "joined" else node.state,
        "draining": node.offer.draining,
        "version": node.version,
        "seen": round(location.clock() - node.seen, 1) if node.seen else None,
        "cpu": offer.cpu,
        "cores": offer.cores,
        "memory": offer.memory,
        "memory_total": offer.memory_total,
        "disk": offer.disk,
        "disk_total": offer.disk_total,
        "containers": offer.containers,
        "storage": offer.storage,
        "notes": list(offer.notes),
    }


def _session(location: Location, session: Session) -> dict[str, Any]:
    return {
        "id": session.id,
        "account": session.account,
        "program": session.record.program,
        "opened": session.record.opened,
        "connected": bool(session.identity),
        "seen": round(location.clock() - session.seen, 1),
        "containers": len(location.holdings.containers_of(session.id)),
    }


def _container(location: Location, container: Container) -> dict[str, Any]:
    return {
        "id": container.id,
        "tag": container.tag,
        "session": container.session,
        "account": container.account,
        "node": container.node,
        "address": container.address,
        "image": container.image,
        "created": container.created,
        "ended": container.id in location.holdings.ended,
    }


def _kept(kept: Kept) -> dict[str, Any]:
    return {
        "id": kept.id,
        "name": kept.name,
        "account": kept.account,
        "node": kept.node,
        "image": kept.image,
        "state": kept.state,
        "created": kept.created,
        "expires": kept.expires,
        "size": kept.size,
        "evictable": kept.evictable,
    }


def _volume(volume: Volume) -> dict[str, Any]:
    return {
        "id": volume.id,
        "tag": volume.tag,
        "account": volume.account,
        "node": volume.node,
        "persistent": volume.persistent,
        "created": volume.created,
    }
