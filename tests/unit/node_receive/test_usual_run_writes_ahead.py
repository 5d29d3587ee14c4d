"""While nothing more comes, a run writes what has come: a sender shall not wait for that later."""

from __future__ import annotations

import os
import time
from pathlib import Path

from storage.compiled_digest import XXH3_ADDRESS
from storage.incoming_file import new_chance
from tests.peers.raw_dicom import p_data, pdv
from tests.unit.node_receive.like_kinds import command, like_before, texts
from tests.unit.node_receive.like_slices import slice_with
from tests.unit.node_receive.run_taking import (
    Ran,
    assert_as_by_the_long_way,
    compiled,
    following,
    run,
    usual_run,
)
from tests.unit.node_receive.scripted_stream import (
    CONTEXT_ID,
    MAX_PDU_BYTES,
    Reading,
    Script,
    in_values,
)

STEP = 1 << 14
LARGEST = MAX_PDU_BYTES - 6
REQUEST = command("1.2.3.4.1")
LARGE = slice_with(pixels=bytes(range(250)) * 2000)
WIRE = REQUEST + b"".join(map(p_data, in_values(LARGE, [LARGEST])))
IN_THE_THIRD = len(REQUEST) + 2 * (LARGEST + 12) + 5000
EMPTY = p_data(pdv(CONTEXT_ID, 0, b""))


def test_what_has_come_is_written_while_more_is_awaited() -> None:
    with following(Script([WIRE[:IN_THE_THIRD], b"x"], pause_s=0.4)) as read:
        ran = run(read, within_s=0.05)

    assert ran.incoming is not None
    (content,) = ran.incoming.values()
    assert len(content) >= MAX_PDU_BYTES
    assert len(content) % STEP == 0
    assert bytes(ran.memory).startswith(content)


def test_what_was_written_so_is_written_once() -> None:
    pieces = [WIRE[:IN_THE_THIRD], WIRE[IN_THE_THIRD:-70_000], WIRE[-70_000:]]
    ran = assert_as_by_the_long_way(Script(pieces, pause_s=0.05))

    assert ran.has_taken(1)


def test_what_cannot_be_written_ahead_is_met_at_the_end() -> None:
    with following(Script([WIRE[:IN_THE_THIRD], WIRE[IN_THE_THIRD:]], pause_s=0.05)) as read:
        ran = run(read, file="/dev/full")

    assert (ran.end, ran.done) == (compiled.FAILED, [])


def test_nothing_of_a_run_before_comes_into_the_next_file(tmp_path: Path) -> None:
    two = len(REQUEST) + 2 * (LARGEST + 12)
    with following(Script([WIRE[:two] + EMPTY, b"x"], pause_s=0.6)) as read:
        time.sleep(0.1)  # all of it shall be here: then nothing is written while more is awaited
        take = Taking(read, tmp_path)
        assert take.once("first").begun is not None
        assert (tmp_path / "first").read_bytes() == b""
        assert take.once("second").begun is None

    assert (tmp_path / "second").read_bytes() == b""


class Taking:
    """Calls the same run again, each time for another file."""

    def __init__(self, read: Reading, folder: Path) -> None:
        made = texts(None, kinds=1)
        self._read, self._folder = read, folder
        self._memory = bytearray(made.head_bytes + (1 << 20) + compiled.SLACK_BYTES)
        self._run = usual_run.UsualRun(
            read.connection.fileno(),
            CONTEXT_ID,
            MAX_PDU_BYTES,
            [like_before()],
            made,
            os.fsencode(folder),
            XXH3_ADDRESS,
        )

    def once(self, name: str) -> Ran:
        came, memory = self._read.layer.take_ahead(), self._memory
        chance, *chances = (new_chance().encode() for _ in range(2))
        file = os.open(self._folder / name, os.O_RDWR | os.O_CREAT)
        place = os.open(self._folder, os.O_RDONLY)
        try:
            return Ran(
                *self._run.take(
                    came, memory, 1 << 20, file, chance, 0, chances, 0, [place], -1, 0.3
                )
            )
        finally:
            os.close(file)
            os.close(place)
