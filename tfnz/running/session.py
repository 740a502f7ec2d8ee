"""`tf run` from the first look at its arguments to the last clearing away: a container as a command of this terminal."""

from __future__ import annotations

import argparse
import contextlib
import sys
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tfcore.errors import BadRequest, ContainerDied, DeadlineExceeded, ImageNotFound, NotFound, TfError, WrongState
from tfnz import ready, terminal
from tfnz.commands import exits, options
from tfnz.commands.progress import CLEAR, Progress
from tfnz.commands.tables import say
from tfnz.ending import Signals, ending
from tfnz.running import wishes
from tfnz.running.output import Output, feed
from tfnz.running.record import Record, recorded

if TYPE_CHECKING:
    from tfnz.container import Container
    from tfnz.conversation import Conversation
    from tfnz.location import Location
    from tfnz.node import Node
    from tfnz.tunnel import Tunnel

PATIENCE = 60.0
"""Seconds until we say that it is not ready yet, and go on."""

LOOK = 0.25
"""Seconds between two looks whether the session is still there."""

TOLD = 30.0
"""Seconds until we hear of an end that another request has told of already."""


def run(given: argparse.Namespace) -> int:
    """Run what the options wish; returns the container's exit code, or what `exits` says.

    Raises:
        TfError, Stopped: as their messages say; Ended: by a signal. All that was begun has been cleared away.
    """
    wish = Wish(given)
    with ending() as signals:
        return _run(wish, signals)


class Wish:
    """What was typed, understood as far as that is possible without a location.

    Raises:
        BadRequest: it cannot be.
    """

    def __init__(self, given: argparse.Namespace) -> None:
        assignments, self.command = wishes.leading_assignments(given.words)
        self.given = given
        self.env = wishes.variables([*given.env, *assignments], given.env_file)
        self.files = [wishes.file(text) for text in given.file]
        self.mounts = [wishes.mount(text) for text in given.mount]
        self.published = [wishes.publication(text) for text in given.publish]  # only to see whether it can be
        if given.both:
            given.interactive, given.tty = True, given.tty or sys.stdin.isatty()
        self.tty = terminal.here() if given.tty else None
        if given.sleep and given.tty:
            raise BadRequest(
                "--sleep and -t: nothing that sleeps can be talked with", hint="tf exec -ti runs a shell in it"
            )
        if given.sleep and given.browser:
            raise BadRequest("--sleep and --browser: a container that sleeps serves no pages")

    def spawned(self, node: Node, location: Location, ended: threading.Event) -> Container:
        """A container as wished; it boots by itself."""
        given = self.given
        wish: dict[str, Any] = {
            "env": self.env,
            "sleep": given.sleep,
            "volumes": [(location.volume(key), path) for key, path in self.mounts],
            "pre_boot_files": self.files,
            "command": self.command or None,
            "entrypoint": None if given.entrypoint is None else given.entrypoint.split(),
            "memory": given.memory,
            "cpus": given.cpus,
            "pids": given.pids_limit,
            "hostname": given.hostname,
            "user": given.user,
            "workdir": given.workdir,
            "tag": given.name,
            "tty": self.tty or False,
            "ready": ready.running() if self.command or given.entrypoint is not None else None,
        }
        return node.spawn_container(
            given.source, **wish, no_image_check=True, termination_callback=lambda *_: ended.set()
        )


def _run(wish: Wish, signals: Signals) -> int:
    given = wish.given
    with recorded(given.json_file) as record, options.opened(given) as location:
        try:
            node = _node(location, wish)
            _upload(location, given)
            return _Running(location, wish, record).through(node)
        finally:
            signals.ignore()  # what follows is the clearing away


def _node(location: Location, wish: Wish) -> Node:
    """Where its volumes are, else the best."""
    nodes = {volume.node.pk: volume.node for volume in (location.volume(key) for key, _ in wish.mounts)}
    if len(nodes) > 1:
        names = ", ".join(sorted(node.name for node in nodes.values()))
        raise BadRequest(f"the volumes to mount are on different nodes: {names}", hint="a container is on one node")
    with exits.otherwise(exits.NODE):
        return next(iter(nodes.values()), None) or location.node()


def _upload(location: Location, given: argparse.Namespace) -> None:
    """Have the image there, showing how far that has come."""
    try:
        with Progress(quiet=given.quiet) as progress, exits.otherwise(exits.SPAWN):
            location.ensure_image_uploaded(given.source, progress=progress)
    except exits.Stopped as stopped:
        if isinstance(stopped.__cause__, ImageNotFound) and not given.program.endswith(" run"):
            hint = f"there is no command {given.source!r} either, see tf --help"
            raise exits.Stopped(stopped.code, TfError(str(stopped), hint=hint)) from stopped
        raise


class _Running:
    """One container of one command."""

    def __init__(self, location: Location, wish: Wish, record: Record | None) -> None:
        self._location = location
        self._wish = wish
        self._given = wish.given
        self._record = record
        self._ended = threading.Event()

    def through(self, node: Node) -> int:
        """From its boot to its end, or to ours."""
        with exits.otherwise(exits.SPAWN):
            container = self._wish.spawned(node, self._location, self._ended)
        if self._given.sleep:
            self._publish(container)
            self._open(container)
            return self._wait(container, None)
        with container.attach(0, speak=self._interactive) as talk:
            return self._at_terminal(container, talk) if self._given.tty else self._in_pipes(container, talk)

    @property
    def _interactive(self) -> bool:
        return bool(self._given.interactive or self._given.tty)

    def _at_terminal(self, container: Container, talk: Conversation) -> int:
        from tfnz.terminal import converse

        self._publish(container)
        if self._boot(container):
            self._open(container)
        code = converse(talk)
        return exits.OK if code is None else code

    def _in_pipes(self, container: Container, talk: Conversation) -> int:
        output = Output(talk)
        if self._interactive:
            feed(talk)
        self._publish(container)
        if self._boot(container):
            self._open(container)
        return self._wait(container, output)

    def _publish(self, container: Container) -> None:
        given = self._given
        wished = wishes.publications(given.publish, container.exposed_ports(), bind=given.bind, offset=given.offset)
        for one in wished:
            container.attach_tunnel(one.port, one.localport, one.bind)
        if self._record is not None:
            self._record.write(container)

    def _boot(self, container: Container) -> bool:
        """True if it is up; False if it has ended before it was, which for a short command is no failure."""
        try:
            with _waiting(f"booting {container.uuid}", quiet=self._given.quiet):
                container.wait_until_ready(PATIENCE)
        except DeadlineExceeded as late:
            say(f"not ready yet, going on: {late}")
        except (ContainerDied, WrongState) as died:  # it ends while we ask, or had ended before
            if not self._ended.wait(TOLD):
                raise
            if container._end is None or container._end.exit_code is None:
                raise exits.Stopped(exits.SPAWN, died) from died
            return False
        return True

    def _open(self, container: Container) -> None:
        """Say where it can be reached, and open what was wished."""
        given = self._given
        if not given.quiet:
            if given.sleep:
                say(f"{container.uuid} is asleep; Ctrl-C removes it")
            for tunnel in container.all_tunnels():
                say(_reached(tunnel))
        if given.ssh is not None:
            say(container.create_ssh_server(given.ssh).command)
        if given.browser:
            port = next((tunnel.dest_port for tunnel in container.all_tunnels()), container.first_port())
            container.attach_browser(port, given.domain, given.path)

    def _wait(self, container: Container, output: Output | None) -> int:
        """Until the container has ended, or nobody reads what it says; returns the exit code.

        Raises:
            SessionLost: the location ended the session.
        """
        while not self._ended.wait(LOOK):
            if output is not None and output.broken.is_set():
                return self._cut_off(output)
            self._location._io  # noqa: B018 - raises what ended the session
        if output is not None:
            output.finish()
            if output.broken.is_set() and not isinstance(output.failure, TfError):
                return self._cut_off(output)
        return self._code(container)

    def _cut_off(self, output: Output) -> int:
        """What it means that its output goes no further.

        Raises:
            Stopped, TfError: if somebody has to be told.
        """
        if isinstance(output.failure, BrokenPipeError):
            return exits.PIPE
        if isinstance(output.failure, TfError):
            raise output.failure
        raise exits.Stopped(exits.FAILED, TfError(f"its output cannot be written: {output.failure}"))

    def _code(self, container: Container) -> int:
        event = container._end
        if event is None:
            raise NotFound(f"container {container.uuid} is gone")
        if event.exit_code is None:
            raise exits.Stopped(exits.FAILED, ContainerDied(f"container {container.uuid} ended: {event.reason}"))
        return event.exit_code


def _reached(tunnel: Tunnel) -> str:
    host = f"[{tunnel.bind}]" if ":" in tunnel.bind else tunnel.bind
    return f"{host}:{tunnel.localport} → {tunnel.dest_port}"


@contextlib.contextmanager
def _waiting(what: str, *, quiet: bool) -> Iterator[None]:
    """Say on a terminal what is waited for, and nothing of it afterwards."""
    if quiet or not sys.stderr.isatty():
        yield
        return
    _draw(f"{CLEAR}{what} …")
    try:
        yield
    finally:
        _draw(CLEAR)


def _draw(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()
