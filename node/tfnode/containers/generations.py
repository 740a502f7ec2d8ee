"""Generations on this machine: trees, mounts, control groups and the OCI runtime put together.

Synchronous, for worker threads; knows no event loop and no wire. Each function undoes what it did if it fails.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tfcore.errors import DeadlineExceeded, HostLacks, NotFound, TfError, WrongState
from tfcore.undo import Undo
from tfcore.wire.differences import CompareContainer, Compared, Left, LookFor
from tfnode.cgroups.group import Group
from tfnode.containers.evidence import Evidence, Scene
from tfnode.containers.life import Birth, Generation, Moment, Swap
from tfnode.containers.lookout import comparison_of, comparison_of_moments, scene_of
from tfnode.containers.preboot import hostname_of, write_identity, write_pre_boot
from tfnode.containers.sandbox import Sandbox, switch
from tfnode.containers.standard_streams import launch_wish, pipes_for
from tfnode.containers.stillness import held_still
from tfnode.images.shift import IdShift
from tfnode.kernel import mounts
from tfnode.kernel.mounts import Attribute
from tfnode.runtime import interface as oci
from tfnode.runtime.launch import plan_launch
from tfnode.runtime.stdio import Pipes
from tfnode.storage.interface import Image, Storage
from tfnode.storage.occupancy import is_nearly_full
from tfnode.storage.sealing import seal
from tfnode.volumes.volumes import Volume, Volumes

log = logging.getLogger(__name__)

STAND_STILL = 0.5
"""Seconds the processes to be killed get to stand still; that they do is a courtesy to whoever is connected to them."""

KILL_TIMEOUT = 20.0
"""Seconds until a killed container must be dead; one in the middle of a disk operation takes its time."""


@dataclass(frozen=True)
class Watch:
    """Whom to tell what happens to a generation; called on whatever thread."""

    made: Callable[[Birth, int, Pipes], None]
    """(birth, generation number, pipes): a generation was made; our ends of its pipes are the watch's from now on."""

    ended: Callable[[Birth, int, oci.Exit], None]
    """(birth, generation number, how): its main process has ended."""

    buried: Callable[[Birth, int], None]
    """(birth, generation number): nothing is left of it."""


@dataclass
class _Bound:
    """How a generation has its volumes: trees grown for it and trees it merely sees, by volume, and the binds of both."""

    grown: dict[str, str]
    seen: dict[str, str]
    binds: tuple[oci.Bind, ...]


@dataclass
class MachineGenerations:
    """See `life.Generations`.

    Attributes:
        users: tells the living generation of each container that has a volume mounted.
        stage: a directory in the agent's mount namespace that containers' root users can walk to.
        group: the node's control group.
    """

    storage: Storage
    runtime: oci.Runtime
    volumes: Volumes
    group: Group
    stage: Path
    ids: IdShift
    watch: Watch
    users: Callable[[Volume], dict[str, Generation]]
    resolv_conf: bytes = b""

    # trees

    def make_fresh(self, birth: Birth, moment: Moment) -> None:
        """See `life.Generations`."""
        tree = f"{birth.id}.g0"
        root = self._stage(tree)
        with Undo() as undo:
            self.storage.prepare(tree, birth.grown_from or Image(birth.layers))
            undo.push(self.storage.remove, tree)
            mounts.mount_tree(self.storage.mounts(tree), root, Attribute.NODEV)
            try:
                write = write_identity if birth.grown_from else write_pre_boot
                write(root, birth.boot, self.ids, self.resolv_conf)
            finally:
                mounts.unmount(root)
                root.rmdir()
            seal(self.storage, tree, moment.root)
            undo.done()
        self.storage.remove(tree)

    def _stage(self, name: str) -> Path:
        path = self.stage / name
        path.mkdir(mode=0o711, parents=True)
        return path

    # a life

    def make(self, birth: Birth, number: int, moment: Moment, sandbox: Sandbox) -> Generation:
        """See `life.Generations`."""
        tree = f"{birth.id}.g{number}"
        with self._steady_volumes(birth), Undo() as undo:
            sandbox.join(number)
            undo.push(sandbox.leave, number)
            self.storage.clone(moment.root, tree)
            undo.push(self.storage.remove, tree)
            root = self._stage(tree)
            undo.push(root.rmdir)
            mounts.mount_tree(self.storage.mounts(tree), root, Attribute.NODEV)
            undo.push(mounts.unmount, root)
            volumes = self._bind_volumes(birth, moment, undo)
            spec = self._spec(birth, number, root, volumes.binds, sandbox)
            state = self._create(birth, number, spec, undo)
            undo.done()
        return Generation(
            number=number,
            moment=moment.name,
            tree=tree,
            root=root,
            runtime_id=spec.id,
            pid=state.pid,
            group=spec.group,
            sandbox=sandbox,
            stop_signal=spec.launch.stop_signal,
            volume_trees=volumes.grown,
            volumes_seen=volumes.seen,
            notes=state.notes,
        )

    def renew(self, birth: Birth, dead: Generation, number: int) -> Generation:
        """See `life.Generations`."""
        self._end_runtime(birth, dead)
        with self._steady_volumes(birth), Undo() as undo:
            volumes = self._bind_volumes(birth, Moment(dead.moment, ""), undo)
            dead.sandbox.join(number)
            undo.push(dead.sandbox.leave, number)
            spec = self._spec(birth, number, dead.root, volumes.binds, dead.sandbox)
            state = self._create(birth, number, spec, undo)
            undo.done()
        dead.sandbox.leave(dead.number)
        return replace(
            dead,
            number=number,
            runtime_id=spec.id,
            pid=state.pid,
            group=spec.group,
            volumes_seen=volumes.seen,
            notes=state.notes,
            ahead=False,
            started=False,
        )

    @contextlib.contextmanager
    def _steady_volumes(self, birth: Birth) -> Iterator[None]:
        """Nobody changes what its volumes show until they are mounted."""
        with contextlib.ExitStack() as held:
            for identifier in sorted({mount.volume for mount in birth.boot.wish.mounts}):
                held.enter_context(self.volumes.get(identifier).lock)
            yield

    def _bind_volumes(self, birth: Birth, moment: Moment, undo: Undo) -> _Bound:
        """All volumes: those the moment holds as they were then, in trees of their own; the others as they are now."""
        bound = _Bound({}, {}, ())
        for mount in birth.boot.wish.mounts:
            volume = self.volumes.get(mount.volume)
            source = self._source(volume, moment, bound, undo)
            volume.add_user(birth.id, mount.path)
            bound.binds += (oci.Bind(source, mount.path),)
        return bound

    def _source(self, volume: Volume, moment: Moment, bound: _Bound, undo: Undo) -> Path:
        label = moment.volumes.get(volume.id)
        if label is None:
            bound.seen[volume.id], source = self.volumes.present(volume)
            return source
        if volume.id not in bound.grown:
            bound.grown[volume.id] = self.volumes.grow(volume, label)
            undo.push(self.volumes.discard, bound.grown[volume.id])
        return self.volumes.show_grown(bound.grown[volume.id])

    def _spec(
        self, birth: Birth, number: int, root: Path, binds: tuple[oci.Bind, ...], sandbox: Sandbox
    ) -> oci.ContainerSpec:
        wish = birth.boot.wish
        group = self.group.child(birth.id)
        group.create()
        launch = plan_launch(birth.image, launch_wish(wish))
        limits = oci.Limits(memory=wish.limits.memory, cpus=wish.limits.cpus, pids=wish.limits.pids or oci.DEFAULT_PIDS)
        return oci.ContainerSpec(
            id=f"{birth.id}.{number}",
            rootfs=root,
            launch=launch,
            sandbox=oci.Sandbox(sandbox.user_namespace, sandbox.network_namespace, self.ids),
            group=group.child(f"g{number}"),
            limits=limits,
            binds=binds,
            hostname=hostname_of(birth.boot),
        )

    def _create(self, birth: Birth, number: int, spec: oci.ContainerSpec, undo: Undo) -> oci.State:
        """The runtime's part; our ends of the pipes go to the watch, the container's are closed here."""
        pipes = pipes_for(birth.boot.wish)
        undo.push(pipes.close)
        state = self.runtime.create(spec, pipes.theirs, ended=lambda how: self.watch.ended(birth, number, how))
        pipes.close_theirs()
        undo.push(self.runtime.delete, spec.id)
        self.watch.made(birth, number, pipes)
        undo.push(self.watch.buried, birth, number)
        return state

    def start(self, generation: Generation) -> None:
        """See `life.Generations`."""
        with generation.turn:
            self.runtime.start(generation.runtime_id)
        generation.started = True

    def kill(self, generation: Generation) -> None:
        """See `life.Generations`."""
        with generation.turn:
            alive = self._kill(generation)
            with contextlib.suppress(FileNotFoundError, HostLacks):
                generation.group.thaw()  # frozen processes die when they thaw
        if alive:
            self.runtime.wait(generation.runtime_id, KILL_TIMEOUT)

    def cut_off(self, generation: Generation) -> None:
        """See `life.Generations`. First it stands still, since what it would accept meanwhile would be closed politely."""
        with generation.turn:
            self._end_in_silence(generation, frozen=self._stands_still(generation))

    def _end_in_silence(self, generation: Generation, *, frozen: bool) -> None:
        """Resets before its end, since nobody can reset what the dead have closed; frozen processes die when they thaw."""
        try:
            generation.sandbox.reset_connections()
        finally:
            alive = self._kill(generation, frozen=frozen)
            if frozen:
                generation.group.thaw()
        if alive:
            self.runtime.wait(generation.runtime_id, KILL_TIMEOUT)

    def hold(self, generation: Generation) -> None:
        """See `life.Generations`."""
        with generation.turn:
            generation.group.freeze()

    def swap(self, pairs: Sequence[Swap]) -> None:
        """See `life.Generations`. The old ones first stand still, so that they answer nobody any more; then the new ones
        go on and are reached; then the old ones' clients are told, idle ones too."""
        old = [old for old, _ in pairs if old is not None]
        new = [new for _, new in pairs]
        with contextlib.ExitStack() as turns, Undo() as undo:
            for generation in sorted([*old, *new], key=lambda one: one.tree):
                turns.enter_context(generation.turn)
            still = [generation for generation in old if self._stands_still(generation)]
            for generation in still:
                undo.push(generation.group.thaw)
            for generation in new:
                generation.group.thaw()
                undo.push(generation.group.freeze)
            switch([generation.sandbox for generation in new])
            undo.done()
            for generation in old:
                self._silence(generation, frozen=generation in still)

    def _silence(self, old: Generation, *, frozen: bool) -> None:
        """Its connections are reset, and it will never run again: it waits, frozen, for its burial, with SIGKILL pending. To
        see it die takes ten times as long as all the rest of a swap. There is no way back any more."""
        try:
            old.sandbox.reset_connections()
        except TfError as error:
            log.warning("connections of %s end when it is buried: %s", old.tree, error)
        self._kill(old, frozen=frozen)

    def _stands_still(self, generation: Generation) -> bool:
        try:
            generation.group.freeze(timeout=STAND_STILL)
        except (OSError, DeadlineExceeded, HostLacks) as refused:
            log.info("%s is killed while it runs: %s", generation.tree, refused)
            return False
        return True

    def _kill(self, generation: Generation, *, frozen: bool = False) -> bool:
        """False if it has ended by itself. The end of the first process ends the others; of what is frozen each is killed,
        so that none of them goes on between the thaw and that end."""
        alive = False
        with contextlib.suppress(WrongState, NotFound):
            self.runtime.signal(generation.runtime_id, signal.SIGKILL)
            alive = True
        for pid in generation.group.pids() if frozen else ():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return alive

    def stop(self, generation: Generation, timeout: float) -> None:
        """See `life.Generations`."""
        try:
            self.runtime.signal(generation.runtime_id, generation.stop_signal)
            self.runtime.wait(generation.runtime_id, timeout)
        except WrongState:
            return
        except DeadlineExceeded:
            log.info("%s did not end within %g s of signal %d", generation.tree, timeout, generation.stop_signal)
            self.kill(generation)

    def take_over(self, birth: Birth, generation: Generation) -> list[str]:
        """See `life.Generations`."""
        former = []
        for identifier, tree in generation.volume_trees.items():
            volume = self.volumes.get(identifier)
            others = {container: other.pid for container, other in self.users(volume).items() if container != birth.id}
            former.append(self.volumes.adopt(volume, tree, others))
        generation.volume_trees = {}
        for identifier, tree in generation.volumes_seen.items():
            self.volumes.bring_up_to_date(self.volumes.get(identifier), birth.id, generation.pid, seen=tree)
        return former

    def crowded(self, generation: Generation) -> bool:
        """See `life.Generations`."""
        return is_nearly_full(generation.root)

    def discard(self, trees: list[str]) -> None:
        """See `life.Generations`."""
        for tree in trees:
            self.volumes.discard(tree)
        if trees:
            self.storage.sweep()
            self.volumes.catch_up()

    def bury(self, birth: Birth, generation: Generation) -> None:
        """See `life.Generations`."""
        self._unmake(birth, generation)
        with contextlib.suppress(NotFound):  # an earlier attempt got as far as forgetting it: the rest is the sweep's
            self.storage.remove(generation.tree)
        self.storage.sweep()

    def _unmake(self, birth: Birth, generation: Generation) -> None:
        """All but the tree."""
        self._end_runtime(birth, generation)
        if mounts.is_mounted(generation.root):  # not if this is the second attempt
            mounts.unmount(generation.root)
        with contextlib.suppress(FileNotFoundError):
            generation.root.rmdir()
        for tree in generation.volume_trees.values():
            self.volumes.discard(tree)
        generation.volume_trees = {}
        generation.sandbox.leave(generation.number)

    def _end_runtime(self, birth: Birth, generation: Generation) -> None:
        self.runtime.delete(generation.runtime_id)
        self.watch.buried(birth, generation.number)

    def leave(self, birth: Birth) -> None:
        """See `life.Generations`."""
        for mount in birth.boot.wish.mounts:
            self.volumes.get(mount.volume).remove_user(birth.id, mount.path)
        self.group.child(birth.id).remove()

    # moments

    def keep(self, *kept: tuple[Generation, Moment]) -> None:
        """See `life.Generations`."""
        living = [generation for generation, _ in kept]
        writers = [writer for _, moment in kept for writer in self._writers(moment)]
        with Undo() as undo:
            with held_still([*living, *writers]):
                for generation, moment in kept:
                    self._keep_volumes(moment, undo)
                    self.storage.snapshot(generation.tree, moment.root)  # last: it says that the moment is whole
                    undo.push(self.storage.remove, moment.root)
            undo.done()

    def _writers(self, moment: Moment) -> list[Generation]:
        """Whoever may write to a volume that the moment holds."""
        return [user for identifier in moment.volumes for user in self.users(self.volumes.get(identifier)).values()]

    def _keep_volumes(self, moment: Moment, undo: Undo) -> None:
        for identifier, label in moment.volumes.items():
            self.volumes.snapshot(self.volumes.get(identifier), label)
            undo.push(self.storage.remove, label)

    def seal(self, birth: Birth, generation: Generation, moment: Moment) -> None:
        """See `life.Generations`."""
        with Undo() as undo:
            with held_still(self._writers(moment)):
                self._keep_volumes(moment, undo)
            self._unmake(birth, generation)
            seal(self.storage, generation.tree, moment.root)
            undo.done()
        self.storage.remove(generation.tree)

    def scene(self, birth: Birth, generation: Generation) -> Scene:
        """See `life.Generations`."""
        return scene_of(self.storage, self.volumes, birth, generation)

    def compare(
        self, birth: Birth, generation: Generation, moment: Moment, seen: Evidence | None, wanted: CompareContainer
    ) -> Compared:
        """See `life.Generations`."""
        return comparison_of(self.storage, self.volumes, birth, generation, moment, seen).told(moment.name, wanted)

    def compare_moments(self, birth: Birth, before: Moment, after: Moment, wanted: CompareContainer) -> Compared:
        """See `life.Generations`."""
        return comparison_of_moments(self.storage, birth, before, after).told(before.name, wanted)

    def left(
        self, birth: Birth, generation: Generation, moment: Moment, seen: Evidence | None, look_for: LookFor
    ) -> Left:
        """See `life.Generations`."""
        return comparison_of(self.storage, self.volumes, birth, generation, moment, seen).left(look_for)

    def remove_moment(self, moment: Moment) -> None:
        """See `life.Generations`. What was kept, and others' trees, do not hold it back."""
        ours = tuple(f"{owner}." for owner in (moment.root.partition(".")[0], *moment.volumes))
        labels = (moment.root, *moment.volumes.values())
        users = [info.label for info in self.storage.walk() if info.parent in labels and info.label.startswith(ours)]
        if users:
            raise WrongState(f"{moment.name!r} is needed by {', '.join(users)}", hint="remove these first")
        for label in labels:
            with contextlib.suppress(NotFound):  # an earlier attempt has got that far
                self.storage.retire(label)

    def forget(self, moment: Moment) -> None:
        """See `life.Generations`."""
        for label in (moment.root, *moment.volumes.values()):
            try:
                self.storage.retire(label)
            except TfError as error:
                log.info("snapshot %s stays: %s", label, error)
