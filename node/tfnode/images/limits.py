"""How much one layer may unpack to, so that an archive of a few kilobytes cannot fill a node.

Knows numbers only, nothing of tar or compression.
"""

from __future__ import annotations

from dataclasses import dataclass

from tfcore.errors import BadImage

GIB = 1 << 30


@dataclass(frozen=True)
class Limits:
    """What is refused in one layer.

    Args:
        stream_bytes: longest uncompressed stream.
        entries: most entries.
        file_bytes: largest size a file may claim, holes included.
        ratio: most bytes that one compressed byte may stand for on average, once the stream is longer than `ratio_from`
            bytes. (A short stream of zeros compresses 1000 times and is harmless.)
        ratio_from: see `ratio`.
    """

    stream_bytes: int = 64 * GIB
    entries: int = 2_000_000
    file_bytes: int = 1024 * GIB
    ratio: int = 200
    ratio_from: int = GIB

    def check_stream(self, *, packed: int, unpacked: int) -> None:
        """Refuse a stream that has grown too long, or grows too fast.

        Args:
            packed: compressed bytes read so far.
            unpacked: bytes they became.

        Raises:
            BadImage: with the numbers.
        """
        if unpacked > self.stream_bytes:
            raise BadImage(f"unpacks to more than {self.stream_bytes} bytes", hint="the limit is the node's")
        if unpacked > self.ratio_from and unpacked > packed * self.ratio:
            raise BadImage(f"{packed} bytes unpack to more than {unpacked}, over {self.ratio} times as much")

    def check_entries(self, count: int) -> None:
        """Refuse an archive with too many entries.

        Raises:
            BadImage: with the number.
        """
        if count > self.entries:
            raise BadImage(f"has more than {self.entries} entries", hint="the limit is the node's")

    def check_file(self, size: int) -> None:
        """Refuse a file that claims an absurd size.

        Raises:
            BadImage: with both numbers.
        """
        if size > self.file_bytes:
            raise BadImage(f"claims a size of {size} bytes, more than {self.file_bytes}")
