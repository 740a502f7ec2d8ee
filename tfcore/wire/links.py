"""Which messages may travel on which link: the whole protocol on one page.

The dispatchers of location and node are checked against these tables by a test.
"""

from __future__ import annotations

from typing import Any

from tfcore.wire import (
    containers,
    differences,
    figures,
    files,
    images,
    inside,
    kept,
    nodes,
    processes,
    sessions,
    visits,
    volumes,
)
from tfcore.wire.message import Event, Request

INVITED_TO_LOCATION: tuple[type[Request[Any]], ...] = (sessions.AcceptInvitation,)
"""From whoever has nothing but an invitation (`tfcore.invitations`)."""

CLIENT_TO_LOCATION: tuple[type[Request[Any]], ...] = (
    sessions.OpenSession,
    sessions.RenewLease,
    sessions.CloseSession,
    sessions.AskStatus,
    images.FindImage,
    images.ListImages,
    images.OfferImage,
    images.ProveLayer,
    images.PutLayer,
    images.FinishImage,
    images.RemoveImage,
    containers.SpawnContainer,
    containers.DestroyContainer,
    containers.AllowConnection,
    containers.DisallowConnection,
    volumes.CreateVolume,
    volumes.DestroyVolume,
    kept.KeepSnapshot,
    kept.ListKept,
    kept.ForgetKept,
    kept.TidyKept,
    visits.ListContainers,
)

CLIENT_TO_NODE: tuple[type[Request[Any]], ...] = (
    containers.WaitReady,
    containers.StartContainer,
    containers.RebootContainer,
    containers.AskContainer,
    containers.SnapshotContainer,
    containers.RollBackContainer,
    containers.SnapshotTogether,
    containers.RollBackTogether,
    containers.DropSnapshot,
    differences.CompareContainer,
    containers.RunProcess,
    processes.SpawnProcess,
    processes.AwaitProcess,
    processes.ResizeTerminal,
    processes.SignalProcess,
    processes.AttachContainer,
    processes.FeedContainer,
    containers.PutFile,
    containers.FetchFile,
    files.PutTree,
    files.FetchTree,
    files.AskFile,
    files.ListDirectory,
    files.ChangeFile,
    files.RenameFile,
    files.RemoveFile,
    files.MakeDirectory,
    files.MakeLink,
    files.OpenFile,
    containers.GetLogs,
    containers.WaitTcp,
    containers.WaitHttp,
    containers.OpenConnection,
    containers.HandOverTunnel,
    inside.ConnectInside,
    inside.ListenInside,
    inside.TakeCall,
    volumes.SnapshotVolume,
    volumes.RollBackVolume,
)
"""Routed by `Header.target`; the location passes them on unread after checking who owns the target. Of those for several
containers it reads which, and checks each."""

VISITS: tuple[type[Request[Any]], ...] = (
    containers.AskContainer,
    containers.GetLogs,
    containers.RunProcess,
    processes.SpawnProcess,
    processes.AwaitProcess,
    processes.ResizeTerminal,
    processes.SignalProcess,
    processes.AttachContainer,
    processes.FeedContainer,
    containers.PutFile,
    containers.FetchFile,
    files.PutTree,
    files.FetchTree,
    files.AskFile,
    files.ListDirectory,
    files.ChangeFile,
    files.RenameFile,
    files.RemoveFile,
    files.MakeDirectory,
    files.MakeLink,
    files.OpenFile,
)
"""Of those, what a visitor may ask of the containers of other sessions of its account: to look into them and to try things
in them, as a person at a terminal would. What they are to become is for their own session to say."""

LOCATION_TO_NODE: tuple[type[Request[Any]], ...] = (
    nodes.BootContainer,
    nodes.EndContainer,
    nodes.FreeSession,
    nodes.ConnectContainers,
    nodes.DisconnectContainers,
    volumes.MakeVolume,
    volumes.RemoveVolume,
    kept.KeepMoment,
    kept.DropKept,
    figures.AskFigures,
)

NODE_TO_LOCATION: tuple[type[Request[Any]], ...] = (nodes.JoinLocation, images.FetchLayer)

EVENTS_TO_CLIENT: tuple[type[Event], ...] = (
    sessions.SessionLost,
    sessions.NodeUpdated,
    sessions.VolumeUpdated,
    sessions.ExternalUpdated,
    containers.ContainerEnded,
    volumes.VolumeLost,
)
EVENTS_TO_LOCATION: tuple[type[Event], ...] = (nodes.OfferChanged, containers.ContainerEnded)
EVENTS_TO_NODE: tuple[type[Event], ...] = (nodes.NodeLost,)
