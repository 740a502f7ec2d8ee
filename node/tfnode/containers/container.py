"""One container's story: boots, becomes ready, is snapshot, rolled back, ended. Runs in the agent's event loop.

Every transition runs as a task of its own under the container's lock, so that an asker who gives up leaves no half-done
transition behind. Knows the machine only through `Generations`.
"""

from __future__ import annotations

import asyncio
import logging
import time

from tfcore.errors import ContainerDied, Exhausted, TfError, WrongState
from tfcore.wire.containers import ContainerReady, RolledBack
from tfcore.wire.differences import CompareContainer, Compared, LookFor
from tfnode.containers.ahead import Ahead
from tfnode.containers.inspection import Inspection
from tfnode.containers.labour import Labour
from tfnode.containers.life import FRESH, Birth, Generation, Moment, moment_named, moment_of
from tfnode.containers.output import Output
from tfnode.containers.patient import Patient
from tfnode.containers.sandbox import Sandbox
from tfnode.containers.sandboxes import Sandboxes
from tfnode.containers.spares import Spares, Tier
from tfnode.containers.standing import DOWN, Standing, State
from tfnode.containers.succession import Succession
from tfnode.containers.surroundings import Surroundings
from tfnode.containers.traces import Traces
from tfnode.containers.wakening import Wakening

log = logging.getLogger(__name__)

STOP_TIMEOUT = 10.0
"""Seconds a service has to end when asked to, as `docker stop` gives it."""


class Container:
    """A container of this node."""

    def __init__(
        self, birth: Birth, sandbox: Sandbox, surroundings: Surroundings, output: Output, moments: dict[str, Moment]
    ) -> None:
        self.birth = birth
        self.id = birth.id
        self.address = birth.boot.address
        self.wish = birth.boot.wish
        self.output = output
        self.standing = Standing()
        self.moments = moments
        self.newest = ""
        self._seen = ""
        self._waits_for_spare = False
        self._around = surroundings
        self._generations = surroundings.generations
        self._labour = Labour(f"container {self.id}", surroundings.executor)
        self._succession = Succession(
            birth,
            sandbox,
            self.standing,
            self._generations,
            self._labour,
            lambda: surroundings.cut_connections(self.id),
            sandboxes := Sandboxes(lambda: surroundings.open_beside(self.address)),
        )
        self.traces = Traces(
            f"container {self.id}",
            self._labour,
            scene_of=lambda generation: self._generations.scene(birth, generation),
            carries=lambda: surroundings.carries(self.id),
            wanted=not self.wish.always_roll_back,
        )
        self._inspection = Inspection(birth, self._generations, self._labour, self.traces)
        self._ahead = Ahead(
            birth,
            self._generations,
            self._labour,
            output,
            surroundings.room,
            surroundings.execute,
            lambda: surroundings.company(self),
            lambda: self.generation.memory() if self.generation else 0,
            self.traces.foresee,
            sandboxes,
            self._succession.bury,
        )
        self._spares = Spares(self._labour, self._ahead, self._succession)
        self.patient = Patient(self.address, output, surroundings.execute, self.running, self._saw)
        self.wakening = Wakening(birth, self.standing, self.patient, self.death)
        self.turn = self._lock = asyncio.Lock()  # held by whoever changes it, or must find it unchanged
        self._boot: asyncio.Task[ContainerReady] | None = None

    @property
    def state(self) -> State:
        """What it is doing."""
        return self.standing.state

    @property
    def generation(self) -> Generation | None:
        """The one that is the container now."""
        return self._succession.living

    @property
    def sandbox(self) -> Sandbox:
        """The one that is reached under its address."""
        return self._succession.sandbox

    @property
    def spares(self) -> int:
        """How many generations wait to take over."""
        return self._spares.ready

    @property
    def seen(self) -> str:
        """What was last seen of a service that somebody waits for."""
        return self._ahead.seen if self._waits_for_spare else self._seen

    def _saw(self, what: str) -> None:
        self._seen = what

    # transitions

    def boot(self, moment: str = "") -> None:
        """Begin to boot from a moment (default: the image); `ready` tells the outcome."""
        self._boot = self._labour.begin(self._boot_from(moment))

    async def _boot_from(self, name: str) -> ContainerReady:
        async with self._lock:
            begun = time.monotonic()
            self.standing.enter(State.BOOTING)
            try:
                moment = self._moment(name) if name else await self._fresh()
                self.newest = name
                await self._succession.take_over(await self._succession.make(moment))
                return await self._wake(moment, begun)
            except TfError as error:
                self.standing.fail(error)
                raise

    async def _fresh(self) -> Moment:
        """Before the first process; it may be there already if the container is built again."""
        if FRESH not in self.moments:
            moment = moment_of(self.birth, FRESH, asleep=self.wish.sleep)
            await self._labour.step(self._generations.make_fresh, self.birth, moment)
            self.moments[FRESH] = moment
        return self.moments[FRESH]

    async def start(self) -> None:
        """Start the main process of a sleeping container and wait until it is ready."""

        async def wake() -> ContainerReady:
            async with self._lock:
                if self.state is not State.ASLEEP:
                    raise WrongState(f"container {self.id} is {self.state}, not asleep")
                return await self._start(time.monotonic())

        self._boot = self._labour.begin(wake())
        await asyncio.shield(self._boot)

    async def _start(self, begun: float) -> ContainerReady:
        generation = self._living()
        await self._labour.step(self._begin, generation)
        self.standing.enter(State.STARTED)
        await self.wakening.until_ready()
        self.standing.enter(State.READY)
        return self._ready_reply(begun)

    def _begin(self, generation: Generation) -> None:
        """In a worker thread."""
        self.traces.begin(generation)
        self._generations.start(generation)

    async def ready(self) -> ContainerReady:
        """Wait for the outcome of the last boot.

        Raises:
            ContainerDied: its main process ended. TfError: what went wrong while booting.
        """
        if self._boot is None:
            raise WrongState(f"container {self.id} was never booted")
        outcome = await asyncio.shield(self._boot)
        if self.state in DOWN:
            raise self.death()
        return outcome

    async def booted(self) -> Generation:
        """Wait until processes can run in it: calls on a container wait for its boot, not for its service.

        Raises:
            TfError: as `running`.
        """
        await self.standing.until_still()
        return self.running()

    async def reboot(self, *, fresh: bool) -> ContainerReady:
        """End all processes and boot again, over the present files or over those of `FRESH`."""
        self._boot = self._labour.begin(self._reboot(fresh=fresh))
        return await asyncio.shield(self._boot)

    async def _reboot(self, *, fresh: bool) -> ContainerReady:
        async with self._lock:
            begun = time.monotonic()
            self._spares.drop()
            old = self.generation
            if old is None:
                raise WrongState(f"container {self.id} is {self.state}")
            self.standing.enter(State.BOOTING)
            try:
                if fresh:
                    await self._succession.replace(await self._succession.make(self._moment(FRESH)))
                else:
                    await self._succession.renew(old)
                return await self._start(begun)
            except TfError as error:
                self.standing.fail(error)
                raise

    async def snapshot(self, name: str) -> None:
        """Keep the present state under `name`.

        Raises:
            WrongState: it is not running, or its `before_snapshot` command failed.
        """
        await self._labour.whole(self._snapshot(name))

    async def _snapshot(self, name: str) -> None:
        async with self._lock:
            generation = self._living()
            if name in self.moments:
                raise WrongState(f"container {self.id} has a snapshot {name!r} already")
            await self.wakening.before_snapshot()
            moment = moment_of(self.birth, name, asleep=self.state is State.ASLEEP)
            self._spares.drop()
            if self.wish.clean_stop and self.state is State.READY:
                await self._snapshot_stopped(generation, moment)
            else:
                seen = await self.traces.look(generation, patient=True)
                await self._labour.step(self._generations.keep, generation, moment)
                self.moments[name] = moment
                self.traces.kept(seen, moment)
            self.newest = name
            self._spares.prepare(moment)

    async def _snapshot_stopped(self, generation: Generation, moment: Moment) -> None:
        """Stop the service, keep its files as they are then, and boot it again from there."""
        self.standing.enter(State.BOOTING)
        try:
            self.standing.expect_end()
            self._around.cut_connections(self.id)
            await self._labour.step(self.sandbox.reset_connections)
            await self._labour.step(self._generations.stop, generation, STOP_TIMEOUT)
            await self._labour.step(self._generations.seal, self.birth, generation, moment)
            self.moments[moment.name] = moment
            # Its volumes go on as they are: they have just been kept, and others may be writing to them.
            await self._succession.take_over(await self._succession.make(Moment(moment.name, moment.root)))
            await self._start(time.monotonic())
            if not moment.volumes:
                await self.traces.ready(self._living(), moment)
        except TfError as error:
            self.standing.fail(error)
            raise

    async def compare(self, wanted: CompareContainer) -> Compared:
        """What differs from a snapshot.

        Raises:
            NotFound: no such snapshot. WrongState: there is no generation that could be looked at.
        """
        async with self._lock:
            moment = self._moment(wanted.name or self.newest or FRESH)
            if wanted.to:
                return await self._inspection.compare_moments(moment, self._moment(wanted.to), wanted)
            if self.generation is None:
                raise WrongState(f"container {self.id} is {self.state}: it has no files and no processes")
            return await self._inspection.compare(self.generation, moment, wanted)

    async def roll_back(self, name: str, *, look_for: LookFor = "nothing") -> RolledBack:
        """Put files and session volumes back to a snapshot (default: the newest), boot, wait until ready.

        Raises:
            NotFound: no such snapshot. Anything else: the message says whether the old or the new state is there.
        """
        task = self._labour.begin(self._roll_back(name, look_for))
        self._boot = self._labour.begin(self._as_ready(task))
        return await asyncio.shield(task)

    async def _as_ready(self, rolling: asyncio.Task[RolledBack]) -> ContainerReady:
        done = await asyncio.shield(rolling)
        return ContainerReady(generation=done.generation, seconds=done.seconds, notes=self._notes())

    async def _roll_back(self, name: str, look_for: LookFor) -> RolledBack:
        async with self._lock:
            begun = time.monotonic()
            moment = self._moment(name or self.newest or FRESH)
            if (done := await self._unless_clean(moment, begun)) is not None:
                return done
            left = await self._inspection.left(self.generation, moment, look_for)
            prepared = await self._next(moment)
            mark = self.output.next
            self.standing.enter(State.ROLLING_BACK)
            new: Generation | None = None
            try:
                new, tier = prepared or (await self._succession.make_instead(moment), "cold")
                if new.ahead and not await self._swapped_in(new, moment):
                    new, tier = await self._succession.make(moment), "cold"
                if not new.ahead:
                    await self._succession.replace(new)
                    await self._wake(moment, begun)
            except TfError as error:
                self.standing.fail(error)
                error.message += f"; container {self.id} {self._what_is_left(new, moment)}"
                raise
            self.newest = moment.name
            self._spares.prepare(moment)
            took = time.monotonic() - begun
            return RolledBack(generation=new.number, seconds=took, tier=tier, log_mark=mark, left=left)

    async def _unless_clean(self, moment: Moment, begun: float) -> RolledBack | None:
        """What to answer if nothing has happened since it stood at that moment: then it stays as it is."""
        if self.state is not State.READY or self.generation is None:
            return None
        number, mark = self.generation.number, self.output.next
        if change := await self.traces.since(self.generation, moment):
            log.info("container %s goes back to %r: %s", self.id, moment.name, change)
            return None
        self.newest = moment.name
        return RolledBack(generation=number, seconds=time.monotonic() - begun, tier="clean", log_mark=mark)

    def _what_is_left(self, new: Generation | None, moment: Moment) -> str:
        if self.generation is None:
            return f"is gone for lack of room, but its snapshot {moment.name!r} is not"
        whose = f"the files of snapshot {moment.name!r}" if self.generation is new else "the files it had before"
        return f"has {whose} but does not run"

    async def _wake(self, moment: Moment, begun: float) -> ContainerReady:
        if moment.asleep:
            self.standing.enter(State.ASLEEP)
        else:
            await self._start(begun)
            await self.traces.ready(self._living(), moment)
        return self._ready_reply(begun)

    async def _swapped_in(self, new: Generation, moment: Moment) -> bool:
        """A generation that was booted ahead is ready, and so is the container then. False if it cannot take over."""
        swapped = await self._succession.swap(new)
        self._ahead.let_go(new)
        if swapped:
            self.output.bring_in(new.number)
            self.traces.swapped_in(new, moment)
            self.standing.enter(State.READY)
        return swapped

    async def _next(self, moment: Moment) -> tuple[Generation, Tier] | None:
        """None if the disk has no room for two: what fills it may well be what the present generation has written."""
        self._waits_for_spare = True
        try:
            return await self._spares.take(moment)
        except TfError as error:
            if isinstance(error, Exhausted) and self.generation is not None:
                log.warning("container %s: %s; its present files go first", self.id, error)
                return None
            error.message += f"; container {self.id} goes on as it was ({self.state})"
            raise
        finally:
            self._waits_for_spare = False

    async def end(self) -> None:
        """Remove the container with everything it has; nothing is left when this returns."""
        await self._labour.whole(self._end())

    async def _end(self) -> None:
        self.standing.nobody_wants_it()
        self._ahead.abandon()
        async with self._lock:
            self.traces.forget()
            self.standing.enter(State.GONE)
            self._spares.drop()
            await self._succession.end()
            await self._labour.settle(but=self._boot)
            await self._succession.bury()
            await self._labour.step(self._generations.leave, self.birth)
            await self._succession.leave()

    async def drop(self, name: str) -> None:
        """Remove a snapshot.

        Raises:
            NotFound: there is none. WrongState: something grew from it.
        """
        async with self._lock:
            moment = self._moment(name)
            if self._spares.grew_from(name):
                self._spares.drop()
                await self._labour.settle(but=self._boot)
            await self._labour.step(self._generations.remove_moment, moment)
            del self.moments[name]
            if self.newest == name:
                self.newest = next(reversed([kept for kept in self.moments if kept != FRESH]), "")

    async def forget_moments(self) -> None:
        """Remove all its snapshots, newest first."""
        for moment in reversed(list(self.moments.values())):
            await self._labour.step(self._generations.forget, moment)
        self.moments.clear()

    # what the machine tells

    def main_process_ended(self, number: int, exit_code: int | None, how: str) -> None:
        """The first process of a generation has ended; expected ends and other generations' are no news."""
        if self.generation is None or number != self.generation.number:
            self._ahead.main_process_ended(number, exit_code, how)
            return
        if self.standing.main_process_ended(exit_code, how):
            self._around.report_end(self, how, exit_code)

    def death(self) -> ContainerDied:
        """Why it is not running, with its last words."""
        return self.standing.death(f"container {self.id} ({self.wish.image})", self.output.tail())

    # small things

    def _moment(self, name: str) -> Moment:
        return moment_named(name, self.moments, self.id)

    def _living(self) -> Generation:
        if self.generation is None or self.state in (*DOWN, State.GONE):
            raise WrongState(
                f"container {self.id} is {self.state}", hint="roll it back, reboot it or build it again first"
            )
        return self.generation

    def running(self) -> Generation:
        """The generation, for calls that need a running (or sleeping) container.

        Raises:
            ContainerDied: its main process has ended. WrongState: it is not there (yet).
        """
        if self.state in DOWN:
            raise self.death()
        return self._living()

    def _ready_reply(self, begun: float) -> ContainerReady:
        seconds = time.monotonic() - begun
        return ContainerReady(generation=self._living().number, seconds=seconds, notes=self._notes())

    def _notes(self) -> tuple[str, ...]:
        return self.generation.notes if self.generation else ()
