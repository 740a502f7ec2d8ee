"""Every name and every shape of arguments of 20ft's SDK, as programs of either generation use them.

Each line is a call as such a program writes it: what has no default by position, the rest by name (`_` stands for some
value), or, without brackets, an attribute. 001 and 002 are the seeds, 1.3.4 is the last published package. Not there:
endpoints, domains and persistent sessions, which are not built yet; and what that package's own parts called of each other.
"""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import re
import socket
import subprocess
import sys
from typing import Any

import pytest

CALLS = """
001   location.Location()
001   location.Location(_)
001   location.Location(debug_log=_)
001   location.Location(_, debug_log=_)
001   location.last_image()
001   location.Location.best_node()
001   location.Location.ensure_image_uploaded(_)
001   node.Node.spawn(_)
001   node.Node.spawn(_, sleep=_)
001   node.Node.spawn(_, env=_)
001   node.Node.spawn(_, pre_boot_files=_)
001   node.Node.spawn(_, no_image_check=_)
001   node.Node.spawn(_, pre_boot_files=_, no_image_check=_)
001   container.Container.attach_browser()
001   container.Container.logs()
001   container.Container.put(_, _)
001   container.Container.fetch(_)
001   container.Container.attach_tunnel(_)
001   container.Container.attach_tunnel(_, localport=_)
001   tunnel.Tunnel.localport
001   container.Container.wait_http_200()
001   container.Container.wait_http_200(fqdn=_)
001   container.Container.wait_http_200(path=_)
001   container.Container.spawn_process(_)
001   container.Container.spawn_process(_, data_callback=_, termination_callback=_)
001   container.Container.spawn_process(_, termination_callback=_)
001   process.Process.wait_until_complete()
001   process.Process.destroy()

002   location.Location(location=_, location_ip=_)
002   location.Location(quiet=_)
002   location.Location(debug=_)
002   location.Location(new_node_callback=_)
002   location.Location.node()
002   location.Location.run()
002   location.Location.disconnect()
002   location.Location.nodes
002   location.Location.volumes
002   location.Location.externals
002   location.Location.tunnels
002   node.Node.spawn_container(_)
002   tagged.TaggedCollection.get(_, _)
002   tagged.Taggable.display_name()

1.3.4 location.Location(location=_, location_ip=_, quiet=_, debug_log=_, new_node_callback=_)
1.3.4 location.Location.complete()
1.3.4 location.Location.complete(container=_, returncode=_)
1.3.4 location.Location.disconnect(container=_, returncode=_)
1.3.4 location.Location.wait_until_ready(timeout=_)
1.3.4 location.Location.is_ready()
1.3.4 location.Location.ranked_nodes()
1.3.4 location.Location.create_volume(tag=_, asynchronous=_, termination_callback=_)
1.3.4 location.Location.ensure_volume(_)
1.3.4 location.Location.destroy_volume(_)
1.3.4 location.Location.all_volumes()
1.3.4 location.Location.volume(_)
1.3.4 location.Location.external_container(_)
1.3.4 location.Location.ensure_image_uploaded(_, descr=_)
1.3.4 location.Location.all_locations()
1.3.4 location.Location.tunnel_onto(_, _, _, _)
1.3.4 location.Location.wait_tcp(_, _)
1.3.4 location.Location.wait_http_200(_, _, _, _, localport=_)
1.3.4 location.Location.destroy_tunnel(_, container=_)
1.3.4 location.Location.user_pk
1.3.4 node.Node.spawn_container(_, env=_, sleep=_, volumes=_, pre_boot_files=_, command=_, stdout_callback=_)
1.3.4 node.Node.spawn_container(_, termination_callback=_, tag=_)
1.3.4 node.Node.destroy_container(_)
1.3.4 node.Node.all_containers()
1.3.4 node.Node.stats
1.3.4 node.Node.pk
1.3.4 container.Container.start()
1.3.4 container.Container.wait_until_ready(timeout=_)
1.3.4 container.Container.is_ready()
1.3.4 container.Container.private_ip()
1.3.4 container.Container.stdin(_)
1.3.4 container.Container.wait_tcp(_)
1.3.4 container.Container.wait_http_200(dest_port=_, fqdn=_, path=_)
1.3.4 container.Container.attach_tunnel(_, localport=_, bind=_)
1.3.4 container.Container.destroy_tunnel(_)
1.3.4 container.Container.all_tunnels()
1.3.4 container.Container.allow_connection_from(_)
1.3.4 container.Container.disallow_connection_from(_)
1.3.4 container.Container.spawn_process(_, data_callback=_, termination_callback=_, stderr_callback=_)
1.3.4 container.Container.run_process(_, data_callback=_, stderr_callback=_, nolog=_)
1.3.4 container.Container.spawn_shell(data_callback=_, termination_callback=_, echo=_)
1.3.4 container.Container.destroy_process(_)
1.3.4 container.Container.all_processes()
1.3.4 container.Container.create_ssh_server(port=_)
1.3.4 container.Container.create_ssh_server()
1.3.4 container.Container.destroy_ssh_server(_)
1.3.4 container.Container.fetch(_)
1.3.4 container.Container.put(_, _)
1.3.4 container.Container.reboot(reset_filesystem=_)
1.3.4 container.Container.image
1.3.4 container.Container.docker_config
1.3.4 container.Container.env
1.3.4 container.Container.volumes
1.3.4 container.Container.display_name()
1.3.4 container.Container.global_display_name()
1.3.4 container.ExternalContainer.private_ip()
1.3.4 container.ExternalContainer.allow_connection_from(_)
1.3.4 container.ExternalContainer.disallow_connection_from(_)
1.3.4 container.ExternalContainer.display_name()
1.3.4 process.Process.stdin(_)
1.3.4 process.Process.destroy()
1.3.4 volume.Volume.snapshot()
1.3.4 volume.Volume.rollback()
1.3.4 volume.Volume.trees_intersect(_, _)
1.3.4 volume.Volume.uuid
1.3.4 volume.Volume.tag
1.3.4 volume.Volume.display_name()
1.3.4 volume.Volume.global_display_name()
1.3.4 docker.Docker.last_image()
1.3.4 docker.Docker.description(_, conn=_)
1.3.4 docker.Docker.tarball(_)
1.3.4 components.postgresql.Postgresql(_, _, password=_, log_callback=_, image=_)
1.3.4 components.postgresql.Postgresql.wait_until_ready(timeout=_)
1.3.4 components.postgresql.Postgresql.wait_truly_up()
1.3.4 components.postgresql.Postgresql.ensure_database(_)
1.3.4 components.postgresql.Postgresql.password
1.3.4 Taggable
1.3.4 TaggedCollection.get(_, _)
1.3.4 TaggedCollection.values()
"""

USES = [re.sub(r"\s+", " ", line.strip()) for line in CALLS.splitlines() if line.strip()]

MODULES = ("location", "node", "container", "volume", "process", "tunnel", "docker", "components")
"""What `from tfnz import *` gives, but for `endpoint`."""


@functools.cache
def found(dotted: str) -> tuple[Any, Any]:
    """What a name of the table stands for, and the class it was found in."""
    owner, here = None, importlib.import_module("tfnz")
    for part in dotted.split("."):
        owner = here
        if inspect.ismodule(here) and not hasattr(here, part):
            importlib.import_module(f"{here.__name__}.{part}")
        here = getattr(here, part, None)
    return here, owner


@pytest.mark.parametrize("use", USES)
def test_a_program_of_20ft_finds(use: str) -> None:
    written = ast.parse(use.split(" ", 1)[1], mode="eval").body
    if not isinstance(written, ast.Call):
        is_there(ast.unparse(written))
        return
    target, owner = found(ast.unparse(written.func))
    assert callable(target), f"there is no {ast.unparse(written.func)}"
    bound = inspect.isclass(target) or inspect.ismodule(owner) or is_static(owner, target.__name__)
    values = [None] * (len(written.args) + (not bound))
    inspect.signature(target).bind(*values, **dict.fromkeys((str(k.arg) for k in written.keywords), None))


def is_static(owner: Any, name: str) -> bool:
    return isinstance(inspect.getattr_static(owner, name), staticmethod)


def is_there(dotted: str) -> None:
    """Of the class, or an attribute of its objects, which its docstring names."""
    target, owner = found(dotted)
    name = dotted.rpartition(".")[2]
    documented = re.search(rf"^\s+(.* )?{name}: ", inspect.getdoc(owner) or "", re.MULTILINE)
    assert target is not None or documented, f"{owner} has no {name}"


def test_star_gives_the_modules_and_shadows_no_built_in() -> None:
    program = (
        "import builtins\nbefore = set(dir())\nfrom tfnz import *\n"
        "new = set(dir()) - before - {'before'}\n"
        f"assert all(type(eval(name)).__name__ == 'module' for name in {MODULES}), new\n"
        "assert not new & set(dir(builtins)), new\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)


def test_gen_1s_names_are_gen_2s() -> None:
    """Aliases, not copies."""
    from tfnz.location import Location

    assert Location.best_node is Location.node


def test_why_the_local_port_cannot_be_called() -> None:
    """Gen 1 reads `tunnel.localport`, gen 2 calls it. A number that does both is no exact int, and the resolver wants one,
    as some drivers do (PyMySQL); text that does both is no int, which others want. When this fails, give it both."""

    class Both(int):
        def __call__(self) -> int:
            return int(self)

    with pytest.raises(OSError, match="Int or String expected"):
        socket.getaddrinfo("127.0.0.1", Both(80))
