"""`tf-location init` and `serve`: make a location, run its daemon."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from tflocation.cli.asking import asks_the_daemon, directory_of, run_of, verb


def add_to(commands: Any) -> None:
    """The two verbs' arguments."""
    init = verb(commands, "init", _init, "make a location: keys, store, configuration")
    init.add_argument("--name", help="host name under which clients know it (default: this machine's)")
    init.add_argument("--address", help="where clients connect to, host[:port] (default: the name, port 5555)")
    init.add_argument(
        "--listen", action="append", default=[], metavar="ENDPOINT",
        help="tcp://address:port to listen on, repeatable (default: tcp://127.0.0.1:5555, this machine only)",
    )  # fmt: skip
    serve = verb(commands, "serve", _serve, "run the daemon until SIGTERM")
    serve.add_argument("--listen", action="append", default=[], metavar="ENDPOINT", help="instead of the configured")
    serve.add_argument("--ipc", action="append", default=[], metavar="PATH", help="a unix socket to listen on, too")
    serve.add_argument(
        "--metrics", metavar="ADDRESS:PORT",
        help="serve Prometheus metrics there, a loopback address such as 127.0.0.1:9555 (default: nowhere)",
    )  # fmt: skip
    asks_the_daemon(serve)
    serve.add_argument("--log", choices=("auto", "text", "json"), default="auto", help="default: text on a terminal")
    serve.add_argument("--verbose", action="store_true", help="log everything")
    local = serve.add_argument_group("a private location, as the SDK starts it")
    local.add_argument("--local", action="store_true", help="make what is missing and run a node, too")
    local.add_argument("--idle", type=float, default=60.0, help="stop after so many seconds without a session")


def _init(arguments: argparse.Namespace) -> int:
    """Make a location. Prints its public key as the DNS TXT record that clients may find it by."""
    import socket

    from tfcore.keys import text_of
    from tflocation import options

    directory = directory_of(arguments)
    name = options.check_name(arguments.name or socket.getfqdn())
    listen = tuple(options.check_endpoint(endpoint) for endpoint in arguments.listen)
    config = options.ConfigFile(name=name, address=options.public_address(arguments.address or name))
    if listen:
        config = options.ConfigFile(name=name, address=config.address, listen=listen)
    directory.make(config)
    print(f"location {name} is in {directory.root}; its configuration is {directory.config}")
    print(f"it listens on {' '.join(config.listen)}, and clients connect to {config.address}")
    print("clients that have no invitation find its key in this DNS record, if you publish it:")
    print(f'  {name}. IN TXT "20ft-key={text_of(directory.server_keys().public)}"')
    print(f"start it: tf-location serve --dir {directory.root}")
    return 0


def _serve(arguments: argparse.Namespace) -> int:
    """Run the daemon in the foreground until SIGTERM or Ctrl-C. A restart loses no session."""
    import logging

    from tfcore.logs import Style, configure
    from tflocation import serving
    from tflocation.metrics.address import loopback

    style: Style = "text" if arguments.local and arguments.log == "auto" else arguments.log
    configure(level=logging.DEBUG if arguments.verbose else logging.INFO, style=style)
    directory = directory_of(arguments)
    run: Path = run_of(arguments, directory)
    metrics = loopback(arguments.metrics) if arguments.metrics else None
    if arguments.local:
        serving.run_local(directory, run, idle=arguments.idle)
    else:
        serving.run(directory, run, listen=tuple(arguments.listen), ipc=tuple(arguments.ipc), metrics=metrics)
    return 0
