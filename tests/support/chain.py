"""A chain of real services: an HTTP app in front of PostgreSQL, to whose database it connects once, when it boots.

At each boot it writes a row into `boots`, so whoever reads that table sees which generation of the app has reached which
generation of the database.
"""

from __future__ import annotations

import urllib.request
from dataclasses import dataclass

from tests.support import example_images
from tests.support.line import PORT, SECONDS, said
from tfnz import ready
from tfnz.container import Container
from tfnz.location import Location

APP = r"""
    sub need {{
        my $got = "";
        while (length $got < $_[0]) {{ sysread(D, $got, $_[0] - length $got, length $got) or die "no database" }}
        $got;
    }}
    sub answer {{
        my $found = "";
        for (;;) {{
            my ($kind, $size) = unpack("aN", need(5));
            my $body = need($size - 4);
            die $body if $kind eq "E";
            $found .= substr($body, 6, unpack("N", substr($body, 2, 4))) if $kind eq "D";
            return $found if $kind eq "Z";
        }}
    }}
    sub query {{ my $q = "$_[0]\0"; syswrite(D, "Q" . pack("N", 4 + length $q) . $q); answer() }}
    socket(D, 2, 1, 0); connect(D, pack("SnC4x8", 2, 5432, {db})) || die "connect: $!";
    my $hello = pack("N", 196608) . "user\0postgres\0\0";
    syswrite(D, pack("N", 4 + length $hello) . $hello); answer();
    query("insert into boots default values");
    socket(S, 2, 1, 0); setsockopt(S, 1, 2, pack("i", 1)); bind(S, pack("Sna4x8", 2, {port}, "\0" x 4)) || die $!;
    listen(S, 64);
    while (accept(C, S)) {{
        sysread(C, $_, 4096) || next;
        query("insert into orders default values") if m{{^POST}};
        my $body = query("select (select count(*) from orders) || ' orders, ' || (select count(*) from boots) || ' boots'");
        syswrite(C, "HTTP/1.0 200 OK\r\nContent-Length: " . length($body) . "\r\n\r\n$body");
        close C;
    }}
"""


@dataclass
class Chain:
    """The two, connected and ready."""

    app: Container
    db: Container

    def look(self) -> str:
        """What the app says there is, e.g. `2 orders, 1 boots`."""
        return self._ask("GET")

    def order(self) -> str:
        """Have the app write a row; what it says there is then."""
        return self._ask("POST")

    def _ask(self, method: str) -> str:
        request = urllib.request.Request(self.app.tunnel(PORT).url, method=method)
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            said: str = answer.read().decode()
            return said

    def sql(self, statement: str) -> str:
        """What the database itself says."""
        return said(self.db, f'psql -U postgres -Atc "{statement}"')


def make_chain(location: Location, image: str, **db_wish: object) -> Chain:
    """Spawn both on one node; `image` is one with perl, for the app."""
    node = location.node()
    db = node.spawn_container(
        example_images.reference("postgres"),
        env={"POSTGRES_HOST_AUTH_METHOD": "trust", "POSTGRES_PASSWORD": "-"},
        **db_wish,  # type: ignore[arg-type]
    )
    command = ["perl", "-e", APP.format(port=PORT, db=str(db.ip).replace(".", ", "))]
    app = node.spawn_container(image, command=command, ready=ready.tcp(PORT), sleep=True).wait_until_ready()
    db.wait_until_ready(120)
    chain = Chain(app, db)
    chain.sql("create table orders (id serial); create table boots (id serial)")
    db.allow_connection_from(app)
    app.start()
    return chain
