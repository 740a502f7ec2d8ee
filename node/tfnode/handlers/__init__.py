"""Everything a node can be asked, on one page: message → function.

What clients ask comes through the location, which has checked that their account owns the target and stamped the
session; what only the location may ask is refused when it carries a session.
"""

from __future__ import annotations

from typing import Any

from tfcore.errors import Refused
from tfcore.rpc.dispatcher import Call, Handler, Handlers
from tfcore.wire import containers as c
from tfcore.wire import differences as d
from tfcore.wire import figures as g
from tfcore.wire import files as f
from tfcore.wire import inside as i
from tfcore.wire import kept as k
from tfcore.wire import nodes as n
from tfcore.wire import processes as p
from tfcore.wire import volumes as v
from tfcore.wire.message import Reply
from tfnode.handlers import (
    attaching,
    connections,
    containers,
    figures,
    files,
    filetree,
    inside,
    instructions,
    processes,
    together,
    volumes,
)

FROM_CLIENTS: Handlers = {
    c.WaitReady: containers.wait_ready,
    c.StartContainer: containers.start,
    c.RebootContainer: containers.reboot,
    c.AskContainer: containers.ask,
    c.SnapshotContainer: containers.snapshot,
    c.RollBackContainer: containers.roll_back,
    c.SnapshotTogether: together.snapshot,
    c.RollBackTogether: together.roll_back,
    c.DropSnapshot: containers.drop_snapshot,
    d.CompareContainer: containers.compare,
    c.GetLogs: attaching.get_logs,
    c.RunProcess: processes.run_process,
    p.SpawnProcess: processes.spawn_process,
    p.AwaitProcess: processes.await_process,
    p.ResizeTerminal: processes.resize_terminal,
    p.SignalProcess: processes.signal_process,
    p.AttachContainer: attaching.attach_container,
    p.FeedContainer: attaching.feed_container,
    c.PutFile: files.put_file,
    c.FetchFile: files.fetch_file,
    f.PutTree: files.put_tree,
    f.FetchTree: files.fetch_tree,
    f.AskFile: filetree.ask_file,
    f.ListDirectory: filetree.list_directory,
    f.ChangeFile: filetree.change_file,
    f.RenameFile: filetree.rename_file,
    f.RemoveFile: filetree.remove_file,
    f.MakeDirectory: filetree.make_directory,
    f.MakeLink: filetree.make_link,
    f.OpenFile: filetree.open_file,
    c.WaitTcp: connections.wait_tcp,
    c.WaitHttp: connections.wait_http,
    c.OpenConnection: connections.open_connection,
    i.ConnectInside: inside.connect_inside,
    i.ListenInside: inside.listen_inside,
    i.TakeCall: inside.take_call,
    c.HandOverTunnel: connections.hand_over,
    v.SnapshotVolume: volumes.snapshot,
    v.RollBackVolume: volumes.roll_back,
}

FROM_LOCATION: Handlers = {
    n.BootContainer: instructions.boot_container,
    n.EndContainer: instructions.end_container,
    n.FreeSession: instructions.free_session,
    n.ConnectContainers: instructions.connect,
    n.DisconnectContainers: instructions.disconnect,
    v.MakeVolume: instructions.make_volume,
    v.RemoveVolume: instructions.remove_volume,
    k.KeepMoment: instructions.keep_moment,
    k.DropKept: instructions.drop_kept,
    g.AskFigures: figures.ask_figures,
}


def _location_only(handler: Handler) -> Handler:
    async def guarded(call: Call, message: Any) -> Reply:
        if call.session:
            raise Refused("only the location itself may ask this of a node")
        return await handler(call, message)

    return guarded


HANDLERS: Handlers = {
    **FROM_CLIENTS,
    **{message: _location_only(handler) for message, handler in FROM_LOCATION.items()},
}
