"""A Python file in a container, and its functions as callables here.

The container is prepared once: image, dependencies, the file. Each call begins from a snapshot of that, so that no call sees
what another one has left.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from tfcore.errors import NotFound
from tfcore.ids import new_id
from tfnz.functions import metadata as described
from tfnz.functions import signatures, values
from tfnz.functions.errors import RemoteError, raised_there
from tfnz.functions.preparation import HOME, PACKAGES, PREPARED, REPLIES, SOURCE, Preparation

if TYPE_CHECKING:
    from tfnz.container import Container
    from tfnz.location import Location

DAY = 86_400.0

Write = Callable[[bytes], object]


class Module:
    """A Python file whose functions are called in a container.

    Args:
        location: where.
        path: of the file.
        image: to call it on; default: what the file says, else Python's own of a version that fits.
        rollback: each call begins as the first did; without it what one leaves the next one finds.
        keep: keep what the dependencies make of the image at the location, for later runs, and begin there.
        progress: as of `Location.ensure_image_uploaded`.
        wish: arguments of `Node.spawn_container`.

    Raises:
        BadRequest: it is no Python, or what it says of itself cannot be used. NotFound: there is no such file.
    """

    def __init__(
        self,
        location: Location,
        path: str | Path,
        *,
        image: str = "",
        rollback: bool = True,
        keep: bool = True,
        progress: Callable[[str, int, int], None] | None = None,
        **wish: Any,
    ) -> None:
        self.path = Path(path)
        source = signatures.read(self.path)
        self.outline = signatures.outline(source, self.path.name)
        self.metadata = described.metadata(source, self.path.name)
        self._location = location
        self._rollback = rollback
        self._preparation = Preparation(
            location,
            self.path,
            self.metadata,
            image=image or self.metadata.image,
            keep=keep,
            progress=progress,
            wish=wish,
        )
        self._container: Container | None = None
        self._used = False
        self._lock = threading.RLock()

    def __getitem__(self, name: str) -> Function:
        """One of its functions.

        Raises:
            NotFound: it has none of this name; the message tells those it has.
        """
        return Function(self, self.outline.chosen(name))

    # preparation

    def prepare(self) -> Container:
        """The container, made at the first call of this or of a function.

        Raises:
            ImageNotFound, BadRequest, CommandFailed: there is no image, its Python is of another version, or a dependency
                cannot be had; nothing is left then.
        """
        with self._lock:
            if self._container is None:
                self._container = self._preparation.container()
            return self._container

    @property
    def file(self) -> str:
        """Its path in the container."""
        return f"{SOURCE}/{self.path.name}"

    # calls

    def call(
        self,
        function: str,
        arguments: tuple[Any, ...],
        named: Mapping[str, Any],
        *,
        timeout: float = DAY,
        stdout: Write | None = None,
        stderr: Write | None = None,
    ) -> Any:
        """Call a function, or the file as a program (""), whose arguments are texts.

        Args:
            timeout: seconds; it is killed then.
            stdout, stderr: given what it writes, as it comes; default: our own.

        Raises:
            Exception: as the function did, or `RemoteError`. SystemExit: as it did. DeadlineExceeded: as `timeout` says.
            CannotTravel: an argument cannot be sent (a `TypeError`); nothing was called.
        """
        packed = values.encode([list(arguments), dict(named)], "the arguments")
        with self._lock:
            container = self.prepare()
            if self._used and self._rollback:
                container.rollback(PREPARED)
            self._used = True
            reply = f"{REPLIES}/{new_id('r')}"
            request = {
                "file": self.file, "function": function, "packages": PACKAGES, "arguments": packed, "reply": reply,
            }  # fmt: skip
            code = self._run(container, json.dumps(request), timeout, stdout or _to("stdout"), stderr or _to("stderr"))
            return self._answer(container, reply, code)

    def _run(self, container: Container, request: str, timeout: float, stdout: Write, stderr: Write) -> int:
        done = container.run_process(
            f"exec python3 -u {HOME}/inside.py",
            data_callback=lambda _, data: stdout(data),
            stderr_callback=lambda _, data: stderr(data),
            timeout=timeout,
            workdir=SOURCE,
            stdin=request.encode(),
        )
        return done.exit_code

    def _answer(self, container: Container, reply: str, code: int) -> Any:
        try:
            told = json.loads(container.fetch(reply))
            if "exit" in told:
                raise SystemExit(int(told["exit"]))
            if "result" in told:
                return values.decode(told["result"])
        except NotFound as missing:
            why = f"killed by signal {code - 128}" if code > 128 else f"exit code {code}"
            raise RemoteError(f"{self.path.name} ended without an answer: {why}") from missing
        except (ValueError, TypeError, AttributeError) as error:
            raise RemoteError(f"the answer of {self.path.name} cannot be read: {error}") from error
        raise self._localized(told)

    def _localized(self, told: dict[str, Any]) -> Exception:
        """With the file's path here in the traceback of there."""
        trace = str(told.get("traceback", "")).replace(self.file, str(self.path))
        return raised_there({**told, "traceback": trace})

    # the end

    def close(self) -> None:
        """Remove the container; the next call makes another one."""
        with self._lock:
            container, self._container, self._used = self._container, None, False
            if container is not None:
                container.destroy()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Module {self.path} at {self._location.name}>"


class Function:
    """A function of a Python file: called here, it runs in the file's container.

    Attributes:
        module: the file; `module["name"]` is another function of it, in the same container.
        name: "" if it is the file as a program.
    """

    def __init__(self, module: Module, name: str) -> None:
        self.module = module
        self.name = name

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """Call it; what it prints is printed here, what it returns is returned, what it raises is raised.

        Raises:
            as `Module.call`; TypeError: it does not take these arguments, and was not called.
        """
        self.module.outline.check(self.name, arguments, named)
        return self.module.call(self.name, arguments, named)

    def close(self) -> None:
        """Remove the container, for all functions of the file."""
        self.module.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Function {self.name or 'program'} of {self.module.path}>"


def _to(stream: str) -> Write:
    """Onto `sys.stdout` or `sys.stderr`, whatever that is just now; text torn between two pieces is put together."""
    import codecs

    decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def write(data: bytes) -> None:
        where = getattr(sys, stream)
        where.write(decoder.decode(data))
        where.flush()

    return write
