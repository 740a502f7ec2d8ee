"""`tf run`, and `tf SOURCE` without a command: a container from an image, as a command of this terminal."""

from __future__ import annotations

import argparse

from tfnz.commands.command import Command

SSH_PORT = 2222
"""Where `-s` listens (seed SDK)."""


def _run(options: argparse.Namespace) -> int:
    from tfnz.running import functions, session

    if options.source.endswith(functions.SUFFIX):
        return functions.run(options)
    return session.run(options)


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="an image: a name, an id, `.` for the newest local build, oci:DIR[:TAG], docker-archive:FILE, rootfs:TAR; "
        "or a Python file",
    )
    parser.add_argument(
        "words",
        nargs=argparse.REMAINDER,
        metavar="[NAME=VALUE…] [COMMAND [ARG…]]",
        help="variables, then what to run instead of the image's own command",
    )
    _inside(parser.add_argument_group("in the container"))
    _limits(parser.add_argument_group("limits"))
    _outside(parser.add_argument_group("from here"))


def _inside(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "-e", "--env", action="append", default=[], metavar="NAME[=VALUE]",
        help="set a variable, or hand on the value it has here; repeatable",
    )  # fmt: skip
    group.add_argument(
        "--env-file", action="append", default=[], metavar="FILE", help="variables, one on each line; repeatable"
    )
    group.add_argument(
        "-f", "--file", action="append", default=[], metavar="SRC:DEST",
        help="a file to be there before the first process; a DEST with / at its end keeps the name; repeatable",
    )  # fmt: skip
    group.add_argument(
        "-m", "--mount", action="append", default=[], metavar="VOLUME:PATH",
        help="mount a volume, by its id, tag or id:tag; repeatable",
    )  # fmt: skip
    group.add_argument(
        "-i", action="store_true", dest="interactive", help="hand it what comes on standard input, and its end"
    )
    group.add_argument(
        "-t", "--tty", action="store_true", help="give it this terminal: every key goes there; ^] three times leaves"
    )
    group.add_argument("--interactive", action="store_true", dest="both", help="-ti at a terminal, else -i")
    group.add_argument("-z", "--sleep", action="store_true", help="do not start the main process")
    group.add_argument("--entrypoint", metavar="WORDS", help="instead of the image's entrypoint")
    group.add_argument("-u", "--user", default="", help="instead of the image's user")
    group.add_argument("-w", "--workdir", default="", metavar="DIR", help="instead of the image's working directory")
    group.add_argument("--hostname", default="", metavar="NAME", help="what it calls itself")
    group.add_argument("--name", "--tag", metavar="TAG", help="a name to find it by: 0-9 a-z - _ .")


def _limits(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--memory", metavar="SIZE", help="most memory: 512m, 2g")
    group.add_argument("--cpus", type=float, metavar="N", help="most processor cores: 1.5")
    group.add_argument("--pids-limit", type=int, metavar="N", help="most processes")


def _outside(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "-p", "--publish", action="append", default=[], metavar="[[ADDRESS:]LOCAL:]PORT",
        help="listen here for a port of the container, on a free port unless LOCAL is given; repeatable "
        "(default: all ports the image exposes)",
    )  # fmt: skip
    group.add_argument(
        "--bind", "--public", metavar="ADDRESS",
        help="listen on this address instead of 127.0.0.1, on the container's own port numbers",
    )  # fmt: skip
    group.add_argument("--offset", type=int, metavar="N", help="listen on the container's port number plus N")
    group.add_argument(
        "--browser", action="store_true", help="wait for the web server in it and open a browser onto it"
    )
    group.add_argument("--path", default="", help="the page to open (default: /)")
    group.add_argument("--domain", default="localhost", metavar="HOST", help="the Host header to send while waiting")
    group.add_argument("-s", dest="ssh", action="store_const", const=SSH_PORT, help=f"the same as --ssh {SSH_PORT}")
    group.add_argument("--ssh", type=int, metavar="PORT", help="serve ssh and sftp into it on this port of loopback")
    group.add_argument(
        "--json", dest="json_file", metavar="FILE",
        help="write uuid, ip, tunnels and our pid there, for scripts; removed at the end",
    )  # fmt: skip
    group.add_argument("--image", default="", help="what to call the functions of a Python file on")
    group.add_argument(
        "--no-keep", dest="keep", action="store_false",
        help="of a Python file: do not keep its dependencies at the location, and do not use what is kept",
    )  # fmt: skip
    group.add_argument("--rm", action="store_true", help="nothing: containers never outlive their command")


COMMAND = Command(
    name="run",
    summary="run a container from an image until it ends, or Ctrl-C",
    description="""
Has the image at the location, boots a container from it, listens here for its ports and prints where, and shows its
output: its stdout on stdout, its stderr on stderr. It stays until it ends by itself or somebody presses Ctrl-C; then
all of it is cleared away. Without a command's name `run` is meant: `tf nginx`. For an image that is called like a
command, write `tf run ps`.

Options stand before the SOURCE; what stands behind it belongs to the container: first variables (NAME=VALUE), then
the command. `--` begins a command that looks like a variable.

A SOURCE that ends with .py is a Python file: one of its functions is called in a container, and what it prints, returns
and raises comes back. `tf x.py --help` tells its functions, docs/guides/functions.md the rest.
""",
    run=_run,
    arguments=_arguments,
    common=("where", "noise"),
    examples=(
        ("tf -v --browser nginx", "log what happens, and open a browser when it serves"),
        ("tf -v --browser .", "the same with the newest local build"),
        ("tf -p 8080:80 -f index.html:/usr/share/nginx/html/ nginx", "on port 8080, with a page of ours"),
        ("tf -e POSTGRES_PASSWORD=s3cret -m data:/var/lib/postgresql/data postgres", "on a volume that stays"),
        ("tf -ti alpine sh", "a shell; ^] three times leaves it"),
        ("tf -v --bind 192.0.2.7 --offset 8000 nginx", "for everybody, its port 80 on our 8080"),
        ("tf shapes.py area 2 3 --json", "a function of a Python file; its result as JSON"),
        ("tf debian cat /etc/os-release", "a command; its exit code is ours"),
    ),
    exits=(
        ("any", "the container's own, if it ended by itself: 128 + N if signal N killed it"),
        ("4", "the file of --json exists: another tf may be using it"),
        ("0", "also if ^] three times has left a terminal"),
        ("9", "the file of --json cannot be written"),
        ("129, 143", "ended by SIGHUP, SIGTERM; all has been cleared away"),
    ),
    see_also=("tf-cache", "tf-exec", "tf-volumes"),
)
