"""One container's story: boots, becomes ready, is snapshot, rolled back, ended. Runs in the agent's event loop.

Every transition runs as a task of its own under the container's lock, so that an asker who gives up leaves no half-done
transition behind. Knows the machine only through `Generations`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager

from tfcore.errors import ContainerDied, TfError, WrongState
from tfcore.wire.containers import ContainerReady, RolledBack
from tfcore.wire.differences import CompareContainer, Compared, LookFor
from tfnode.containers.ahead import Ahead
from tfnode.containers.conversations import Conversations
from tfnode.containers.inspection import Inspection
from tfnode.containers.labour import Labour
from tfnode.containers.life import FRESH, Birth, Generation, Moment, moment_named, moment_of
from tfnode.containers.offspring import Offspring
from tfnode.containers.output import Output
from tfnode.containers.patient import Patient
from tfnode.containers.sandbox import Sandbox
from tfnode.containers.sandboxes import Sandboxes
from tfnode.containers.snapshotting import Snapshotting, snapshot
from tfnode.containers.spares import Spares
from tfnode.containers.standing import DOWN, Standing, State
from tfnode.containers.succession import Succession
from tfnode.containers.surroundings import Surroundings
from tfnode.containers.traces import Traces
from tfnode.containers.wakening import Wakening
from tfnode.containers.way_back import WayBack

log = logging.getLogger(__name__)


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
        self.conversations = Conversations()
        self.moments = moments
        self.newest = ""
        self._seen = ""
        self.waits_for_spare = False
        self.around = surroundings
        self._generations = surroundings.generations
        self.labour = Labour(f"container {self.id}", surroundings.executor)
        self.succession = Succession(
            birth,
            sandbox,
            self.standing,
            self._generations,
            self.labour,
            lambda: surroundings.cut_connections(self.id),
            sandboxes := Sandboxes(lambda: surroundings.open_beside(self.address)),
        )
        self.traces = Traces(
            f"container {self.id}",
            self.labour,
            scene_of=lambda generation: self._generations.scene(birth, generation),
            carries=lambda: surroundings.carries(self.id),
            wanted=not self.wish.always_roll_back,
        )
        self.inspection = Inspection(birth, self._generations, self.labour, self.traces)
        self.ahead = Ahead(
            birth,
            self._generations,
            self.labour,
            output,
            surroundings.room,
            surroundings.execute,
            lambda fellows: surroundings.company(self, fellows),
            lambda: self.generation.memory() if self.generation else 0,
            self.traces.foresee,
            sandboxes,
            self.succession.bury,
        )
        self.reserve = Spares(self.labour, Offspring(self.ahead, self.succession))
        self.patient = Patient(self.address, output, surroundings.execute, self.running, self._saw)
        self.wakening = Wakening(birth, self.standing, self.patient, self.death)
        self.lock = asyncio.Lock()  # held by whoever changes it, or must find it unchanged
        self._boot: asyncio.Task[ContainerReady] | None = None

    @property
    def state(self) -> State:
        """What it is doing."""
        return self.standing.state

    @property
    def generation(self) -> Generation | None:
        """The one that is the container now."""
        return self.succession.living

    @property
    def sandbox(self) -> Sandbox:
        """The one that is reached under its address."""
        return self.succession.sandbox

    @property
    def spares(self) -> int:
        """How many generations wait to take over."""
        return self.reserve.ready

    @property
    def seen(self) -> str:
        """What was last seen of a service that somebody waits for."""
        return self.ahead.seen if self.waits_for_spare else self._seen

    def _saw(self, what: str) -> None:
        self._seen = what

    # transitions

    def boot(self, moment: str = "") -> asyncio.Task[ContainerReady]:
        """Begin to boot from a moment (default: the image); `ready` tells the outcome, too."""
        self._boot = boot = self.labour.begin(self._boot_from(moment))
        return boot

    async def _boot_from(self, name: str) -> ContainerReady:
        async with self._turn():
            begun = time.monotonic()
            self.standing.enter(State.BOOTING)
            try:
                moment = self.moment(name) if name else await self._fresh()
                self.newest = name
                await self.succession.take_over(await self.succession.make(moment))
                return await self.wake(moment, begun)
            except TfError as error:
                self.standing.fail(error)
                raise

    async def _fresh(self) -> Moment:
        """Before the first process; it may be there already if the container is built again."""
        if FRESH not in self.moments:
            moment = moment_of(self.birth, FRESH, asleep=self.wish.sleep)
            await self.labour.step(self._generations.make_fresh, self.birth, moment)
            self.moments[FRESH] = moment
        return self.moments[FRESH]

    async def start(self) -> None:
        """Start the main process of a sleeping container and wait until it is ready."""

        async def wake() -> ContainerReady:
            async with self._turn():
                if self.state is not State.ASLEEP:
                    raise WrongState(f"container {self.id} is {self.state}, not asleep")
                return await self.begin(time.monotonic())

        self._boot = self.labour.begin(wake())
        await asyncio.shield(self._boot)

    async def begin(self, begun: float) -> ContainerReady:
        generation = self.living()
        await self.labour.step(self._start, generation)
        self.standing.enter(State.STARTED)
        await self.wakening.until_ready()
        self.standing.enter(State.READY)
        return self._ready_reply(begun)

    def _start(self, generation: Generation) -> None:
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
        self._boot = self.labour.begin(self._reboot(fresh=fresh))
        return await asyncio.shield(self._boot)

    async def _reboot(self, *, fresh: bool) -> ContainerReady:
        async with self._turn():
            begun = time.monotonic()
            await self.forget_spares()
            old = self.generation
            if old is None:
                raise WrongState(f"container {self.id} is {self.state}")
            self.standing.enter(State.BOOTING)
            try:
                if fresh:
                    await self.succession.replace(await self.succession.make(self.moment(FRESH)))
                else:
                    await self.succession.renew(old)
                return await self.begin(begun)
            except TfError as error:
                self.standing.fail(error)
                raise

    async def snapshot(self, name: str) -> None:
        """Keep the present state under `name`.

        Raises:
            WrongState: it is not running, or its `before_snapshot` command failed.
        """
        await self.labour.whole(self._snapshot(name))

    async def _snapshot(self, name: str) -> None:
        async with self._turn():
            one = Snapshotting(self, name)
            await snapshot([one])
            self.newest = name
            self.reserve.prepare(one.moment)
            self.around.snapshot_taken(self)

    async def forget_spares(self) -> None:
        """What it goes back to is about to change; nothing that was made for it together with others is left."""
        await self.around.part(self)
        self.reserve.drop()

    async def compare(self, wanted: CompareContainer) -> Compared:
        """What differs from a snapshot.

        Raises:
            NotFound: no such snapshot. WrongState: there is no generation that could be looked at.
        """
        async with self._turn():
            moment = self.moment(wanted.name)
            if wanted.to:
                return await self.inspection.compare_moments(moment, self.moment(wanted.to), wanted)
            if self.generation is None:
                raise WrongState(f"container {self.id} is {self.state}: it has no files and no processes")
            return await self.inspection.compare(self.generation, moment, wanted)

    async def roll_back(self, name: str, *, look_for: LookFor = "nothing") -> RolledBack:
        """Put files and session volumes back to a snapshot (default: the newest), boot, wait until ready.

        Raises:
            NotFound: no such snapshot. Anything else: the message says whether the old or the new state is there.
        """
        task = self.labour.begin(self._roll_back(name, look_for))
        self.comes_back(asyncio.shield(task))
        return await asyncio.shield(task)

    def comes_back(self, rolling: Awaitable[RolledBack]) -> None:
        """Whoever waits for its boot from now on waits for this."""
        self._boot = self.labour.begin(self._as_ready(rolling))

    async def _as_ready(self, rolling: Awaitable[RolledBack]) -> ContainerReady:
        done = await rolling
        return ContainerReady(generation=done.generation, seconds=done.seconds, notes=self._notes())

    async def _roll_back(self, name: str, look_for: LookFor) -> RolledBack:
        async with self._turn():
            back = WayBack(self, self.moment(name))
            if await back.is_clean():
                return back.stay()
            done = await back.go(look_for)
            self.reserve.prepare(back.moment)
            return done

    async def wake(self, moment: Moment, begun: float) -> ContainerReady:
        if moment.asleep:
            self.standing.enter(State.ASLEEP)
        else:
            await self.begin(begun)
            await self.traces.ready(self.living(), moment)
        return self._ready_reply(begun)

    async def end(self) -> None:
        """Remove the container with everything it has; nothing is left when this returns."""
        await self.labour.whole(self._end())

    async def _end(self) -> None:
        self.standing.nobody_wants_it()
        self.ahead.abandon()
        async with self.lock:
            self.traces.forget()
            self.standing.enter(State.GONE)
            await self.forget_spares()
            await self.succession.end()
        await self.labour.settle(but=self._boot)  # whoever has waited for his turn learns that it is gone
        await self.succession.bury()
        await self.labour.step(self._generations.leave, self.birth)
        await self.succession.leave()

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """Nothing else changes it during this block. WrongState if it has been removed meanwhile."""
        async with self.lock:
            if self.state is State.GONE:
                raise WrongState(f"container {self.id} is gone")
            yield

    async def drop(self, name: str) -> None:
        """Remove a snapshot.

        Raises:
            NotFound: there is none. WrongState: something grew from it.
        """
        async with self._turn():
            moment = self.moment(name)
            await self.around.part(self)
            if self.reserve and self.reserve.moment == moment:
                self.reserve.drop()
                await self.labour.settle(but=self._boot)
            await self.labour.step(self._generations.remove_moment, moment)
            del self.moments[name]
            if self.newest == name:
                self.newest = next(reversed([kept for kept in self.moments if kept != FRESH]), "")

    async def forget_moments(self) -> None:
        """Remove all its snapshots, newest first."""
        for moment in reversed(list(self.moments.values())):
            await self.labour.step(self._generations.forget, moment)
        self.moments.clear()

    # what the machine tells

    def main_process_ended(self, number: int, exit_code: int | None, how: str) -> None:
        """The first process of a generation has ended; expected ends and other generations' are no news."""
        if self.generation is None or number != self.generation.number:
            self.ahead.main_process_ended(number, exit_code, how)
            return
        if self.standing.main_process_ended(exit_code, how):
            self.around.report_end(self, how, exit_code)

    def death(self) -> ContainerDied:
        """Why it is not running, with its last words."""
        return self.standing.death(f"container {self.id} ({self.wish.image})", self.output.tail())

    # small things

    def moment(self, name: str) -> Moment:
        """The snapshot of this name; by default the one it was last taken as or put back to.

        Raises:
            NotFound: there is none.
        """
        return moment_named(name or self.newest or FRESH, self.moments, self.id)

    def living(self) -> Generation:
        """The generation. WrongState if nothing runs, or it is gone."""
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
        return self.living()

    def _ready_reply(self, begun: float) -> ContainerReady:
        seconds = time.monotonic() - begun
        return ContainerReady(generation=self.living().number, seconds=seconds, notes=self._notes())

    def _notes(self) -> tuple[str, ...]:
        return self.generation.notes if self.generation else ()
