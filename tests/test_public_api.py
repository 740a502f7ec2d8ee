"""What users import, frozen: a name that goes away or comes in is a decision, not an accident."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import tfnz
import tfnz.components.postgresql
import tfnz.container
import tfnz.conversation
import tfnz.docker
import tfnz.external
import tfnz.fileinfo
import tfnz.files
import tfnz.functional
import tfnz.imaged
import tfnz.kept
import tfnz.lasting
import tfnz.location
import tfnz.node
import tfnz.process
import tfnz.processes
import tfnz.ready
import tfnz.resources
import tfnz.ssh.access
import tfnz.ssh.server
import tfnz.tagged
import tfnz.tunnel
import tfnz.volume
import tfnz.web

EXPORTED = {
    "Container", "Docker", "ExternalContainer", "Kept", "Location", "Node", "Process", "Taggable", "TaggedCollection",
    "Tunnel", "Volume", "components", "container", "docker", "last_image", "location", "node", "process", "ready",
    "tunnel", "volume",
}  # fmt: skip

MEMBERS = {
    tfnz.location.Location: {
        "best_node", "complete", "containers", "disconnect", "ensure_image_uploaded", "image_identity", "kept",
        "kept_snapshot", "node", "nodes", "ranked_nodes", "resume", "rollback", "run", "snapshot", "tunnels",
    },
    tfnz.functional.Functional: {"function"},
    tfnz.resources.Resources: {
        "all_locations", "all_volumes", "create_volume", "destroy_tunnel", "destroy_volume", "ensure_volume",
        "external_container", "externals", "is_ready", "tunnel_onto", "user_pk", "volume", "volumes", "wait_http_200",
        "wait_tcp", "wait_until_ready",
    },
    tfnz.external.ExternalContainer: {
        "allow_connection_from", "disallow_connection_from", "node", "private_ip", "tell_end",
    },
    tfnz.tagged.Taggable: {"display_name", "global_display_name"},
    tfnz.tagged.TaggedCollection: {"find", "get"},
    tfnz.node.Node: {
        "alive", "all_containers", "create_volume", "destroy_container", "draining", "name", "note_start", "offer", "pk",
        "rank", "spawn", "spawn_container", "stats", "update",
    },
    tfnz.container.Container: {
        "all_tunnels", "allow_connection_from", "attach_tunnel", "checkpoint", "destroy",
        "destroy_tunnel", "diff", "disallow_connection_from", "drop_snapshot", "end",
        "is_ready", "log_mark", "logs", "partners", "private_ip", "reboot", "rebuild", "rollback", "stream_logs",
        "snapshot", "start", "status", "tell_end", "tunnel", "volumes", "wait_tcp", "wait_until_ready",
    },
    tfnz.processes.Processes: {
        "all_processes", "attach", "destroy_process", "open_process", "run_process", "spawn_process", "spawn_shell", "stdin",
    },
    tfnz.process.Process: {"destroy", "resize", "running", "signal", "stdin", "wait_until_complete"},
    tfnz.conversation.Conversation: {
        "close", "finish", "read", "read_errors", "resize", "signal", "wait", "write",
    },
    tfnz.imaged.Imaged: {"docker_config", "env", "image"},
    tfnz.web.Web: {"attach_browser", "exposed_ports", "first_port", "http", "wait_http_200"},
    tfnz.lasting.Lasting: {"fork", "keep"},
    tfnz.ssh.access.Ssh: {"all_ssh_servers", "create_ssh_server", "destroy_ssh_server"},
    tfnz.ssh.server.SshServer: {"close", "command"},
    tfnz.files.Files: {
        "chmod", "chown", "exists", "fetch", "fetch_file", "fetch_tree", "list", "lstat", "mkdir", "put", "put_file",
        "put_tree", "remove", "rename", "rmdir", "stat", "symlink",
    },
    tfnz.fileinfo.FileInfo: {"is_dir", "is_file", "is_symlink", "name", "target"},
    tfnz.kept.Kept: {
        "created", "evictable", "expires", "forget", "id", "image", "labels", "name", "node", "size",
    },
    tfnz.volume.Volume: {
        "destroy", "node", "persistent", "rollback", "snapshot", "tag", "take_over", "tell_end", "trees_intersect", "uuid",
    },
    tfnz.docker.Docker: {"description", "last_image", "tarball"},
    tfnz.components.postgresql.Postgresql: {"ensure_database", "wait_truly_up", "wait_until_ready"},
    tfnz.tunnel.Tunnel: {"close_from", "handed_over", "renew", "url"},
}  # fmt: skip

SIGNATURES = {
    tfnz.location.Location.function: "(self, path, name, *, image, rollback, keep, **spawn_arguments)",
    tfnz.location.Location: "(location, location_ip, debug_log, *, quiet, debug, new_node_callback)",
    tfnz.node.Node.spawn: "(self, image, env, sleep, pre_boot_files, **more)",
    tfnz.node.Node.spawn_container: (
        "(self, image, *, env, sleep, volumes, pre_boot_files, command, entrypoint, memory, cpus, pids, ready, "
        "before_snapshot, after_boot, clean_stop, always_roll_back, hostname, user, workdir, tag, no_image_check, tty, "
        "stdout_callback, termination_callback)"
    ),
    tfnz.node.Node.create_volume: "(self, *, tag, persistent, asynchronous, termination_callback)",
    tfnz.container.Container.attach_tunnel: "(self, dest_port, localport, bind)",
    tfnz.container.Container.wait_http_200: "(self, dest_port, fqdn, path, localport, timeout)",
    tfnz.container.Container.run_process: (
        "(self, command, *, data_callback, stderr_callback, nolog, timeout, env, user, workdir, stdin)"
    ),
    tfnz.container.Container.spawn_process: (
        "(self, command, data_callback, termination_callback, stderr_callback, *, env, user, workdir, nolog)"
    ),
    tfnz.container.Container.spawn_shell: (
        "(self, data_callback, termination_callback, echo, *, columns, rows, term, env, user, workdir)"
    ),
    tfnz.process.Process.stdin: "(self, data, return_reply, drop_echo)",
    tfnz.container.Container.keep: "(self, name, *, snapshot, seconds, labels, evictable, replace, timeout)",
    tfnz.container.Container.fork: "(self, n, *, timeout)",
    tfnz.container.Container.create_ssh_server: "(self, port, *, authorized_keys, password)",
    tfnz.container.Container.put: "(self, path, data, *, mode, timeout)",
    tfnz.container.Container.fetch: "(self, path, *, timeout)",
    tfnz.container.Container.put_file: "(self, local, path, *, mode, progress, timeout)",
    tfnz.container.Container.fetch_file: "(self, path, local, *, progress, timeout)",
    tfnz.container.Container.put_tree: "(self, local, path, *, owners, progress, timeout)",
    tfnz.container.Container.fetch_tree: "(self, path, local, *, skip_links_out, progress, timeout)",
    tfnz.container.Container.reboot: "(self, *, reset_filesystem, timeout)",
}

PROBES = {"all_of", "exec", "http", "image", "log", "running", "tcp"}


def test_the_names_of_the_package() -> None:
    assert set(tfnz.__all__) == EXPORTED
    for name in EXPORTED:
        assert getattr(tfnz, name)


@pytest.mark.parametrize("cls", MEMBERS, ids=lambda cls: cls.__name__)
def test_the_members_of_a_class(cls: type) -> None:
    assert {name for name in vars(cls) if not name.startswith("_")} == MEMBERS[cls]


@pytest.mark.parametrize("function", SIGNATURES, ids=lambda function: function.__qualname__)
def test_a_signature(function: object) -> None:
    parameters = inspect.signature(function).parameters.values()  # type: ignore[arg-type]
    plain = [p.replace(annotation=p.empty, default=p.empty) for p in parameters]
    assert str(inspect.Signature(plain)) == SIGNATURES[function]


def test_the_probes() -> None:
    found = {name for name, value in vars(tfnz.ready).items() if inspect.isfunction(value) and name[0] != "_"}
    assert found == PROBES


def test_everything_public_is_documented() -> None:
    for cls, names in MEMBERS.items():
        assert cls.__doc__
        for name in names:
            assert inspect.getdoc(getattr(cls, name)), f"{cls.__name__}.{name}"


@pytest.mark.parametrize(
    "program",
    [
        pytest.param("from tfnz import *; location.Location; node; container; ready.tcp(80)", id="seed 002"),
        pytest.param("from tfnz.location import Location, last_image", id="seed 001"),
        pytest.param("from tfnz import Location, ready, last_image", id="short"),
        pytest.param("import tfnz; tfnz.Location; tfnz.location.Location", id="by attribute"),
    ],
)
def test_imports(program: str) -> None:
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)


def test_importing_the_package_loads_nothing() -> None:
    program = "import sys, tfnz; sys.exit(any(m in sys.modules for m in ('zmq', 'msgspec', 'requests', 'docker')))"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_sdk_does_not_load_docker_or_requests_before_they_are_needed() -> None:
    program = (
        "import sys, tfnz.location; sys.exit(any(m in sys.modules for m in ('requests', 'docker', 'dns', 'asyncssh')))"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_an_unknown_name() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        tfnz.nothing  # noqa: B018
