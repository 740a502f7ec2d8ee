"""A DNS server for tests: real datagrams on loopback, TXT records from a dictionary.

    with DnsServer({"tiny.test": [["20ft-key=…"]]}) as server:
        os.environ["TF_DNS"] = server.address

A name with no entry does not exist (NXDOMAIN), one with an empty list has no TXT record, one with None is never
answered.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

import dns.flags
import dns.message
import dns.rcode
import dns.rrset

Texts = Sequence[Sequence[str]]
"""Each record is one or more character strings, which the reader joins."""


class DnsServer:
    """Answers until the block ends.

    Attributes:
        asked: the names asked for, in order.
    """

    def __init__(self, records: Mapping[str, Texts | None]) -> None:
        self.records = dict(records)
        self.asked: list[str] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, name="dns server")

    @property
    def address(self) -> str:
        """As `$TF_DNS` takes it."""
        host, port = self._socket.getsockname()
        return f"{host}:{port}"

    def _serve(self) -> None:
        while True:
            wire, client = self._socket.recvfrom(4096)
            if not wire:
                return
            response = self._respond(dns.message.from_wire(wire))
            if response is not None:
                self._socket.sendto(response.to_wire(), client)

    def _respond(self, query: dns.message.Message) -> dns.message.Message | None:
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True)
        self.asked.append(name)
        response = dns.message.make_response(query)
        response.flags |= dns.flags.AA
        if name not in self.records:
            response.set_rcode(dns.rcode.NXDOMAIN)
            return response
        texts = self.records[name]
        if texts is None:
            return None
        if texts:
            quoted = (" ".join(f'"{part}"' for part in record) for record in texts)
            response.answer.append(dns.rrset.from_text(question.name, 60, "IN", "TXT", *quoted))
        return response

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", self._socket.getsockname())
        self._thread.join()
        self._socket.close()
