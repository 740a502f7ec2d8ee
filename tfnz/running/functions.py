"""`tf x.py [FUNCTION] [ARG…]`: a function of a Python file, called in a container, as a command of this terminal."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfcore.errors import BadRequest, TfError
from tfnz.commands import exits, options
from tfnz.commands.progress import Progress
from tfnz.ending import Signals, ending
from tfnz.running import output, wishes

if TYPE_CHECKING:
    from tfnz.functions.module import Module
    from tfnz.functions.signatures import Outline

SUFFIX = ".py"
JSON = "--json"


def run(given: argparse.Namespace) -> int:
    """Call the function that the words behind the file name; returns the exit code.

    Raises:
        TfError, Stopped: it could not be called, as the message says. Ended: by a signal.
    """
    with ending() as signals:
        return _run(given, signals)


def _run(given: argparse.Namespace, signals: Signals) -> int:
    words = list(given.words)
    as_json = JSON in words[-1:]
    if as_json:
        words.pop()
    outline = _outline(given.source)
    if words[:1] in (["-h"], ["--help"]):
        sys.stdout.write(usage(given.source, outline))
        return exits.OK
    name = words.pop(0) if words and words[0] in outline.functions else None
    name, (positional, named) = _meant(outline, name, words)
    with Progress(quiet=given.quiet) as progress, options.opened(given) as location:
        try:
            from tfnz.functions.module import Module

            mounts = [wishes.mount(text) for text in given.mount]
            module = Module(
                location,
                given.source,
                image=given.image,
                keep=given.keep,
                progress=progress,
                env=wishes.variables(given.env, given.env_file),
                volumes=[(location.volume(key), path) for key, path in mounts],
                pre_boot_files=[wishes.file(text) for text in given.file],
                memory=given.memory,
                cpus=given.cpus,
                pids=given.pids_limit,
                user=given.user,
                hostname=given.hostname,
                tag=given.name,
            )
            with exits.otherwise(exits.SPAWN):
                module.prepare()
            progress.clear()
            return _call(module, name, positional, named, as_json=as_json)
        finally:
            signals.ignore()


def _outline(source: str) -> Outline:
    from tfnz.functions import signatures

    return signatures.outline(signatures.read(Path(source)), source)


def _meant(
    outline: Outline, name: str | None, words: Sequence[str]
) -> tuple[str, tuple[tuple[Any, ...], dict[str, Any]]]:
    """The function and its arguments; refused here if it does not take them."""
    from tfnz.functions import words as typed

    try:
        name = outline.chosen(name)
    except TfError as error:
        raise BadRequest(f"{error}", hint=f"tf {outline.name} --help lists what there is") from error
    if not name:
        return name, (tuple(words), {})
    arguments = typed.arguments(words, outline.functions[name])
    try:
        outline.check(name, *arguments)
    except TypeError as error:
        raise BadRequest(str(error)) from error
    return name, arguments


def _call(module: Module, name: str, positional: tuple[Any, ...], named: dict[str, Any], *, as_json: bool) -> int:
    try:
        result = module.call(
            name, positional, named, stdout=output.writer(sys.stdout), stderr=output.writer(sys.stderr)
        )
    except SystemExit as ended:
        return int(ended.code or 0)
    except TfError as error:
        if not hasattr(error, "__notes__"):
            raise
        return _failed(error)
    except Exception as error:  # noqa: BLE001 - whatever the function raised
        return _failed(error)
    _show(result, as_json=as_json)
    return exits.OK


def _failed(error: Exception) -> int:
    """Its traceback there is what helps; ours is of no interest to anybody."""
    notes = [note.partition("\n")[2] for note in getattr(error, "__notes__", ())]
    sys.stderr.write("\n".join(notes) + "\n" if any(notes) else f"{type(error).__name__}: {error}\n")
    return exits.FAILED


def _show(result: Any, *, as_json: bool) -> None:
    from tfnz.functions import values

    if as_json:
        sys.stdout.write(json.dumps(values.plain(result), ensure_ascii=False) + "\n")
    elif result is not None:
        sys.stdout.write(f"{result if isinstance(result, str) else repr(result)}\n")


def usage(source: str, outline: Outline) -> str:
    """What `tf x.py --help` prints."""
    lines = [f"usage: tf [OPTIONS] {source} [FUNCTION] [ARG…] [--json]", ""]
    for name, signature in outline.functions.items():
        lines.append(f"  {name}{signature}")
        if outline.summaries[name]:
            lines.append(f"      {outline.summaries[name]}")
    if not outline.functions:
        lines.append("  no functions" + ("; it is run as a program" if outline.program else ""))
    lines += [
        "",
        "--json prints the result as JSON. tf run --help tells the options; docs/guides/functions.md the rest.",
    ]
    return "\n".join(lines) + "\n"
