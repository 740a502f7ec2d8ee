"""Runs in the container: imports a file, calls one of its functions, writes the answer to a file.

    python3 -u inside.py < request          the request: JSON, see `main`

Needs nothing but Python 3.8 and `values.py` beside it; what is not always needed is imported late, since every call starts
a Python. Standard output and error are the function's own.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import sys
from types import CoroutineType, GeneratorType
from typing import Any

HERE = os.path.dirname(os.path.abspath(__file__))


def main() -> None:
    """Answer the request on standard input: `file`, `function` ("" for the file as a program), `packages`, `arguments`
    (`values`: a list of the positional ones and a dict of the others), `reply` (where to write).
    """
    request = json.load(sys.stdin)
    sys.path[:0] = [os.path.dirname(request["file"]), request["packages"]]
    answer = _answer(request)
    with open(request["reply"] + ".new", "w", encoding="utf-8") as file:
        file.write(json.dumps(answer))
    os.rename(request["reply"] + ".new", request["reply"])
    sys.stdout.flush()


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    from values import CannotTravel, decode, encode  # type: ignore[import-not-found]  # it lies beside this file

    try:
        positional, named = decode(request["arguments"])
        result = _called(request["file"], request["function"], positional, named)
    except SystemExit as ended:
        return {"exit": _exit_code(ended)}
    except BaseException as error:  # noqa: BLE001 - every end of the function is told, also by Ctrl-C
        return _told(error)
    try:
        return {"result": encode(result, "the result")}
    except CannotTravel as error:
        hint = "return what JSON has, or bytes, tuples, sets, dates"
        return {"type": "TypeError", "text": f"{error}; {hint}", "traceback": "", "args": encode([str(error)])}


def _called(file: str, function: str, positional: Any, named: Any) -> Any:
    if not function:
        import runpy

        sys.argv = [file, *positional]
        runpy.run_path(file, run_name="__main__")
        return None
    name = os.path.splitext(os.path.basename(file))[0]
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    result = getattr(module, function)(*positional, **named)
    if isinstance(result, CoroutineType):
        import asyncio

        result = asyncio.run(result)
    return list(result) if isinstance(result, GeneratorType) else result


def _told(error: BaseException) -> dict[str, Any]:
    import traceback

    from values import encode

    kind = type(error)
    own = error.__traceback__
    while own is not None and own.tb_frame.f_code.co_filename in (__file__, os.path.abspath(__file__)):
        own = own.tb_next  # nobody wants to read about us, nor about the importing
    told = {
        "type": kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}",
        "text": str(error),
        "traceback": "".join(traceback.format_exception(kind, error, own)),
    }
    with contextlib.suppress(TypeError):
        told["args"] = encode(list(error.args))
    return told


def _exit_code(ended: SystemExit) -> int:
    if ended.code is None or isinstance(ended.code, int):
        return ended.code or 0
    sys.stderr.write(f"{ended.code}\n")
    return 1


if __name__ == "__main__":
    sys.path[0] = HERE
    main()
