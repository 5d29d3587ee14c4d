"""Where each sender's limits lie in the file that the receiver processes of a node share.

A sender's place is found by its AE title, which stands in the file: a receiver that starts again
after the settings have changed finds the others' places as they are.

    bytes of the file    a record for each place: title (16), instances, bytes (a number each)
    locks, by byte       2**20 for the node, then 2**20 for each place: its associations, and
                         at the end one for each number
"""

from __future__ import annotations

from itertools import count

from node.receive.shared_file import SharedFile, SharedNumber

MOST_SLOTS = 2**20 - 8
_LOCKS = 2**20
_TABLE_LOCK = _LOCKS - 1
_TITLE, _NUMBER = 16, 8
_RECORD = _TITLE + 2 * _NUMBER
_PATIENCE_S = 2.0


class SenderPlace:
    """What one sender has in the shared file."""

    def __init__(self, file: SharedFile, ae_title: str) -> None:
        place = _place(file, ae_title.encode("ascii").ljust(_TITLE))
        numbers = place * _RECORD + _TITLE
        locks_end = (place + 2) * _LOCKS
        self.first_slot = (place + 1) * _LOCKS
        self.instances_paid = SharedNumber(file, numbers, locks_end - 1)
        self.bytes_paid = SharedNumber(file, numbers + _NUMBER, locks_end - 2)


def _place(file: SharedFile, title: bytes) -> int:
    with file.locked(_TABLE_LOCK, _PATIENCE_S):
        for place in count():
            found = file.read(place * _RECORD, _TITLE)
            if found == title:
                return place
            if not any(found):
                file.write(place * _RECORD, title)
                return place
    raise AssertionError("there is always a next place")
