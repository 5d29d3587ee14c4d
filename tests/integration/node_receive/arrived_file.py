"""A Part 10 file as the receiver sees it arrive, without a network."""

from __future__ import annotations

from pathlib import Path

from node.receive.arriving_instance import ArrivingInstance, ContentDigest
from node.receive.instance_header import InstanceHeader


def arrived(path: Path, transfer_syntax_uid: str) -> tuple[InstanceHeader, ContentDigest]:
    """Return identity and digests of a file that begins with a group length (PS3.10 7.1)."""
    content = path.read_bytes()
    end_of_head = 144 + int.from_bytes(content[140:144], "little")
    arriving = ArrivingInstance(content[:end_of_head], transfer_syntax_uid)
    arriving.take(memoryview(content)[end_of_head:])
    return arriving.finish()
