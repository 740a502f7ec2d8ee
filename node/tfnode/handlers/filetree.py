"""Single acts on a container's files, and files held open, asked for by their owner."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from contextlib import nullcontext

import msgspec

from tfcore.errors import BadRequest, TfError
from tfcore.rpc.dispatcher import Call
from tfcore.rpc.frames import bodies, framed
from tfcore.rpc.streams import INPUT, OUTPUT
from tfcore.wire import files as wire
from tfcore.wire.message import Done, Failure, failure_of
from tfnode.containers import filetree
from tfnode.containers.fileaccess import Owner
from tfnode.containers.life import Generation
from tfnode.containers.openfile import HeldFile, Manner
from tfnode.handlers.containers import owned
from tfnode.handlers.files import obtained, root_of
from tfnode.images.shift import IdShift

MOST_ENTRIES = 2000
"""Of a directory, in one answer."""

_KINDS: dict[int, wire.FileKind] = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "link",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
}
_operations: msgspec.msgpack.Decoder[wire.FileOperation] = msgspec.msgpack.Decoder(wire.FileOperation)


def _status(seen: os.stat_result, ids: IdShift, target: str = "") -> wire.FileStatus:
    uid, gid = ids.inside(seen)
    return wire.FileStatus(
        kind=_KINDS.get(stat.S_IFMT(seen.st_mode), "device"),
        mode=stat.S_IMODE(seen.st_mode),
        uid=uid,
        gid=gid,
        size=seen.st_size,
        links=seen.st_nlink,
        accessed=seen.st_atime_ns,
        modified=seen.st_mtime_ns,
        target=os.fsencode(target),
    )


async def ask_file(call: Call, msg: wire.AskFile) -> wire.FileSeen:
    """What is at a path."""
    async with root_of(call, await owned(call).booted()) as root:
        seen, target, real = await call.peer.work(lambda: filetree.look(root, os.fsdecode(msg.path), follow=msg.follow))
    return wire.FileSeen(status=_status(seen, call.peer.ids, target), real=os.fsencode(real))


async def list_directory(call: Call, msg: wire.ListDirectory) -> wire.DirectoryListed:
    """What is in a directory, so many at a time."""
    path, after = os.fsdecode(msg.path), os.fsdecode(msg.after)
    async with root_of(call, await owned(call).booted()) as root:
        found, more = await call.peer.work(lambda: filetree.entries(root, path, after=after, most=MOST_ENTRIES))
    entries = tuple(
        wire.DirectoryEntry(name=os.fsencode(name), status=_status(seen, call.peer.ids, target))
        for name, seen, target in found
    )
    return wire.DirectoryListed(entries=entries, more=more)


async def change_file(call: Call, msg: wire.ChangeFile) -> Done:
    """Change mode, owner, size or times."""
    path, ids = os.fsdecode(msg.path), call.peer.ids
    return await _act(
        call, path, lambda root: filetree.change(root, path, _wanted(msg.changes), follow=msg.follow, ids=ids)
    )


async def rename_file(call: Call, msg: wire.RenameFile) -> Done:
    """Give a file another path."""
    path, to = os.fsdecode(msg.path), os.fsdecode(msg.to)
    return await _act(call, path, lambda root: filetree.rename(root, path, to, replace=msg.replace))


async def remove_file(call: Call, msg: wire.RemoveFile) -> Done:
    """Remove a file, a directory or a tree."""
    path = os.fsdecode(msg.path)
    return await _act(call, path, lambda root: filetree.remove(root, path, msg.kind))


async def make_directory(call: Call, msg: wire.MakeDirectory) -> Done:
    """Make a directory."""
    path, ids = os.fsdecode(msg.path), call.peer.ids
    return await _act(
        call,
        path,
        lambda root: filetree.make_directory(
            root, path, parents=msg.parents, mode=msg.mode, uid=msg.uid, gid=msg.gid, ids=ids
        ),
    )


async def make_link(call: Call, msg: wire.MakeLink) -> Done:
    """Make a link."""
    path, target, ids = os.fsdecode(msg.path), os.fsdecode(msg.target), call.peer.ids
    return await _act(
        call,
        path,
        lambda root: filetree.make_link(root, path, target, hard=msg.hard, uid=msg.uid, gid=msg.gid, ids=ids),
    )


async def _act(call: Call, path: str, act: Callable[[int], object]) -> Done:
    container = owned(call)
    generation = await container.booted()
    with container.traces.touched(f"a file: {path!r}"):
        async with root_of(call, generation) as root:
            await call.peer.work(act, root)
    return Done()


def _wanted(changes: wire.Changes) -> filetree.Wanted:
    return filetree.Wanted(**msgspec.structs.asdict(changes))


# one file, open


async def open_file(call: Call, msg: wire.OpenFile) -> Done:
    """Hold a file open as long as its client does."""
    container = owned(call)
    generation = await container.booted()
    path = os.fsdecode(msg.path)
    with container.traces.touched(f"a file: {path!r}") if msg.write else nullcontext():
        await call.peer.carried.tie(container.id, _hold(call, generation, msg), what=f"the open file {path!r}")
    return Done()


async def _hold(call: Call, generation: Generation, msg: wire.OpenFile) -> None:
    ids = call.peer.ids
    async with root_of(call, generation) as root:
        opening = call.peer.work(lambda: HeldFile(root, os.fsdecode(msg.path), _manner(msg, ids), ids))
        file = await obtained(opening, HeldFile.close)
    try:
        await call.stream.write(OUTPUT, framed(wire.FileDone(status=_status(file.status(), ids))))
        async for body in bodies(call.stream.chunks(INPUT)):
            outcome = await call.peer.work(_perform, file, body, ids)
            await call.stream.write(OUTPUT, framed(outcome))
    finally:
        file.close()
    call.stream.finish(OUTPUT)


def _manner(msg: wire.OpenFile, ids: IdShift) -> Manner:
    return Manner(
        read=msg.read,
        write=msg.write,
        append=msg.append,
        create=Owner(msg.mode, ids.uid(msg.uid), ids.gid(msg.gid)) if msg.create else None,
        exclusive=msg.exclusive,
        truncate=msg.truncate,
    )


def _perform(file: HeldFile, body: bytes, ids: IdShift) -> wire.FileDone | wire.FilePiece | Failure:
    """In a worker thread."""
    try:
        return _done(file, _operation(body), ids)
    except TfError as error:
        return failure_of(error)


def _operation(body: bytes) -> wire.FileOperation:
    try:
        return _operations.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as bad:
        raise BadRequest(f"malformed operation on an open file: {bad}") from bad


def _done(file: HeldFile, operation: wire.FileOperation, ids: IdShift) -> wire.FileDone | wire.FilePiece:
    match operation:
        case wire.ReadAt():
            return wire.FilePiece(data=file.read(operation.offset, operation.size))
        case wire.WriteAt():
            file.write(operation.offset, operation.data)
        case wire.ChangeOpen():
            file.change(_wanted(operation.changes))
        case wire.AskOpen():
            return wire.FileDone(status=_status(file.status(), ids))
        case wire.SyncOpen():
            file.sync()
    return wire.FileDone()
