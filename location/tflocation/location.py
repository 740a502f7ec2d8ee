"""What a location consists of: the parts its handlers work with, joined by `daemon`. Holds no logic."""

from __future__ import annotations

from dataclasses import dataclass

from tfcore.clock import Clock
from tflocation.addresses import AddressBook
from tflocation.auth.accounts import Accounts
from tflocation.auth.invitations import Invitations
from tflocation.auth.zap import Doorkeeper
from tflocation.background import Background
from tflocation.broker import Broker
from tflocation.connections import Connections
from tflocation.disk import Disk
from tflocation.drains import Drains
from tflocation.forwarding import Forwarding
from tflocation.freeing import Freeing
from tflocation.gc.sweep import Sweep
from tflocation.holdings import Holdings
from tflocation.images.cache import ImageCache
from tflocation.images.uploads import Uploads
from tflocation.kept.care import KeptCare
from tflocation.kept.shelf import KeptShelf
from tflocation.leases.runner import LeaseRunner
from tflocation.liveness import Liveness
from tflocation.metrics.tally import Tally
from tflocation.nodes import Nodes
from tflocation.offers import Offers
from tflocation.options import Options
from tflocation.peers import Peers
from tflocation.quotas.guard import Guard
from tflocation.sessions import Sessions
from tflocation.store.database import Database


@dataclass(frozen=True, kw_only=True)
class Location:
    """All parts."""

    options: Options
    clock: Clock
    server_key: bytes
    started: float
    """Seconds since the epoch."""
    background: Background
    database: Database
    accounts: Accounts
    invitations: Invitations
    drains: Drains
    peers: Peers
    sessions: Sessions
    nodes: Nodes
    holdings: Holdings
    kept: KeptShelf
    care: KeptCare
    forwarding: Forwarding
    leases: LeaseRunner
    freeing: Freeing
    sweep: Sweep
    offers: Offers
    guard: Guard
    addresses: AddressBook
    images: ImageCache
    uploads: Uploads
    disk: Disk
    liveness: Liveness
    connections: Connections
    broker: Broker
    doorkeeper: Doorkeeper
    tally: Tally
