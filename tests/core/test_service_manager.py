"""sd_notify(3): one datagram, to a path or an abstract name, and to nobody if nobody asked."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tfcore import service_manager


@pytest.mark.parametrize("abstract", [False, True])
def test_the_manager_hears(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, abstract: bool) -> None:
    name = f"@{tmp_path.name}" if abstract else str(tmp_path / "manager")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(name.replace("@", "\0", 1) if abstract else name)
        manager.settimeout(30)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        service_manager.notify("READY=1")
        assert manager.recv(100) == b"READY=1"


@pytest.mark.parametrize("name", ["", "relative", "/nobody/listens"])
def test_where_nobody_listens_nothing_happens(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", name)
    service_manager.notify("READY=1")
