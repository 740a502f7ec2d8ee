"""What goes into each example image: packages, files of our own, and how the container is run.

Knows nothing of how a root file system is made (distribution.py) or how an image is written down (oci.py).
The settings follow the official images of the three services, so that a suite written against those runs against these.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILES = Path(__file__).parent / "files"
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SECOND = 1_000_000_000  # Docker writes the times of a health check in nanoseconds


@dataclass(frozen=True)
class Added:
    """One path laid over the packages: a file (`content`), a symbolic link (`link`) or a directory (neither).

    `owner` is a user of the image's own /etc/passwd; the group is that user's first group.
    """

    path: str
    mode: int
    owner: str = "root"
    content: bytes | None = None
    link: str | None = None


@dataclass(frozen=True)
class Recipe:
    """One image: `name` is its directory and repository name, `drop` are patterns of paths the service never opens."""

    name: str
    package: str
    config: Callable[[Collection[str]], dict[str, Any]]
    added: tuple[Added, ...] = ()
    drop: tuple[str, ...] = ()


def script(path: str, source: str) -> Added:
    return Added(path, 0o755, content=(FILES / source).read_bytes())


def nginx_config(_paths: Collection[str]) -> dict[str, Any]:
    return {
        "Env": [f"PATH={SYSTEM_PATH}"],
        "Cmd": ["nginx", "-g", "daemon off;"],
        "ExposedPorts": {"80/tcp": {}},
        "StopSignal": "SIGQUIT",
    }


def redis_config(_paths: Collection[str]) -> dict[str, Any]:
    return {
        "Env": [f"PATH={SYSTEM_PATH}"],
        "Entrypoint": ["docker-entrypoint.sh"],
        "Cmd": ["redis-server"],
        "ExposedPorts": {"6379/tcp": {}},
        "User": "redis",
        "Volumes": {"/data": {}},
        "WorkingDir": "/data",
    }


def postgres_config(paths: Collection[str]) -> dict[str, Any]:
    major = postgres_major(paths)
    return {
        "Env": [
            f"PATH=/usr/lib/postgresql/{major}/bin:{SYSTEM_PATH}",
            "LANG=C.UTF-8",
            f"PG_MAJOR={major}",
            "PGDATA=/var/lib/postgresql/data",
        ],
        "Entrypoint": ["docker-entrypoint.sh"],
        "Cmd": ["postgres"],
        "ExposedPorts": {"5432/tcp": {}},
        "Volumes": {"/var/lib/postgresql/data": {}},
        "StopSignal": "SIGINT",  # PostgreSQL's fast shutdown; SIGTERM would wait for the clients to leave
        "Healthcheck": {
            "Test": ["CMD-SHELL", 'pg_isready -q -h 127.0.0.1 -U "${POSTGRES_USER:-postgres}" -d postgres'],
            "Interval": 5 * SECOND,
            "Timeout": 5 * SECOND,
            "StartPeriod": 60 * SECOND,
            "Retries": 3,
        },
    }


def postgres_major(paths: Collection[str]) -> str:
    """The version the distribution ships, read off the installed paths.

    Raises LookupError if no PostgreSQL server is among them.
    """
    for path in paths:
        if found := re.fullmatch(r"usr/lib/postgresql/(\d+)/bin/postgres", path):
            return found[1]
    raise LookupError("the PostgreSQL image holds no server: no usr/lib/postgresql/<version>/bin/postgres")


RECIPES = (
    Recipe(
        name="nginx",
        package="nginx",
        config=nginx_config,
        added=(
            Added("etc/nginx/conf.d/default.conf", 0o644, content=(FILES / "nginx-default.conf").read_bytes()),
            Added("var/log/nginx/access.log", 0o777, link="/dev/stdout"),
            Added("var/log/nginx/error.log", 0o777, link="/dev/stderr"),
        ),
        drop=("etc/nginx/sites-enabled/default", "var/www/html/*"),
    ),
    Recipe(
        name="postgres",
        package="postgresql",
        config=postgres_config,
        added=(
            script("usr/local/bin/docker-entrypoint.sh", "postgres-entrypoint.sh"),
            Added("docker-entrypoint-initdb.d", 0o755),
            Added("var/lib/postgresql/data", 0o1777, owner="postgres"),
            Added("run/postgresql", 0o2775, owner="postgres"),
        ),
        drop=(
            # The package's own cluster and the key pair made for the building machine.
            "etc/postgresql/*",
            "var/lib/postgresql/*",
            "etc/ssl/private/*",
            "etc/ssl/certs/*",
            # The just-in-time compiler is half of the image and a test's queries end before it starts; without its
            # library PostgreSQL goes on as with jit=off.
            "usr/lib/postgresql/*/lib/llvmjit*",
            "usr/lib/postgresql/*/lib/bitcode",
            "usr/lib/*/libLLVM*",
            "usr/lib/*/libz3.so*",
            "usr/lib/llvm-*",
        ),
    ),
    Recipe(
        name="redis",
        package="redis-server",
        config=redis_config,
        added=(
            script("usr/local/bin/docker-entrypoint.sh", "redis-entrypoint.sh"),
            Added("data", 0o755, owner="redis"),
        ),
    ),
)
