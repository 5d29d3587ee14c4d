"""One call of the compiled `UsualRun.take`, with folders of its own, and what is to come of it."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from node.receive.association_ends import AssociationOver
from node.receive.command_set import Command, read_command, response
from node.receive.dimse_status import SUCCESS
from node.receive.file_meta import file_head
from node.receive.message_stream import MessageStream
from storage.compiled_digest import XXH3_ADDRESS
from storage.dataset_digest import digest_of, text_of
from storage.dicom_records import IncomingInstance
from storage.incoming_file import new_chance
from storage.receipt_text import ReceiptWriter, read_receipts
from tests.unit.node_receive.like_kinds import (
    EXPECTED,
    FIRST,
    FOLDERS,
    kind_of,
    like_before,
    texts,
)
from tests.unit.node_receive.like_slices import LITTLE
from tests.unit.node_receive.scripted_stream import (
    CONTEXT_ID,
    STORE,
    End,
    Reading,
    Script,
    reading,
)
from tests.unit.storage.samples import MR_IMAGE

compiled = pytest.importorskip("node.receive.usual_instance")
usual_run = pytest.importorskip("node.receive.usual_run")
"""They are built where there is a compiler."""

_OPEN_FILES = Path("/proc/self/fd")
_QUICK_S = 0.02
Message = tuple[Command, bytes]


@dataclass
class Ran:
    """What `UsualRun.take` returned, and what it left behind."""

    end: int
    rest: bytes
    file: int
    chance: bytes
    done: list[tuple[int, bytes, bytes, int, int, int, int, int | None]]
    begun: tuple[bytes, int] | None
    unsent: bytes
    memory: memoryview = field(default_factory=lambda: memoryview(b""))
    page: bytes = b""
    placed: list[dict[str, bytes]] | None = None
    incoming: dict[str, bytes] | None = None
    has_kept_descriptors: bool = False
    most_bytes_on_disk: int = 0
    is_quick: bool = False

    @property
    def uids(self) -> list[bytes]:
        return [one[1] for one in self.done]

    @property
    def digests(self) -> list[str]:
        return ["" if one[7] is None else text_of(one[7]) for one in self.done]

    def has_taken(self, count: int) -> bool:
        """Whether so many were taken; on a busy machine a run may end before."""
        return len(self.done) == count or (len(self.done) < count and not self.is_quick)


@contextmanager
def following(script: Script) -> Iterator[Reading]:
    """Our end of a connection, where the instance of `STORE` was taken by the short way."""
    with reading(Script([STORE + script.pieces[0], *script.pieces[1:]], script.pause_s)) as read:
        read.messages.is_in_message = False
        yield read


def run(
    read: Reading,
    *,
    places: int = 8,
    room: int = 1 << 20,
    most: int | None = None,
    longest: int | None = None,
    within_s: float = 2.0,
    before: bytes | None = None,
    first_request: bytes = FIRST,
    file: str = "",
    page: str = "",
    on_page: bytes = b"",
    kinds: int = 1,
    lost: int | None = None,
    incoming: str = "incoming",
    reserved: int = 0,
    xxh3: int = XXH3_ADDRESS,
) -> Ran:
    """Take instances, `places` at the most; files and folders may be something else.

    `on_page` is what the page says before; the folder of the kind `lost` is deleted.
    """
    made = texts(before, first_request, kinds)
    memory = memoryview(bytearray(made.head_bytes + room + compiled.SLACK_BYTES))
    with tempfile.TemporaryDirectory() as name, ExitStack() as closing:
        here = Path(name)
        folders = [here / f"place{kind}" for kind in range(kinds)]
        for each in (here / "incoming", *folders):
            each.mkdir()
        (here / "page").write_bytes(on_page)
        chance = new_chance()
        names = file or f"{name}/incoming/{chance}.part", page or f"{name}/page"
        first, receipts = (os.open(one, os.O_RDWR | os.O_CREAT | os.O_APPEND) for one in names)
        closing.callback(os.close, receipts)
        opened_folders = [os.open(each, os.O_RDONLY) for each in folders]
        for each_opened in opened_folders:
            closing.callback(os.close, each_opened)
        if lost is not None:
            folders[lost].rmdir()
        before_it = _descriptors()
        began = time.monotonic()
        taken = usual_run.UsualRun(
            read.connection.fileno(),
            CONTEXT_ID,
            read.layer.longest_p_data if longest is None else longest,
            [like_before(kind) for kind in range(kinds)],
            made,
            os.fsencode(here / incoming),
            xxh3,
        ).take(
            read.layer.take_ahead(),
            memory,
            room if most is None else most,
            first,
            chance.encode(),
            0,
            [new_chance().encode() for _ in range(places)],
            reserved,
            opened_folders,
            receipts,
            within_s,
        )
        ran, took_s = Ran(*taken), time.monotonic() - began
        opened = {str(ran.file)} - {"-1"}
        kept = before_it - {str(first)} | opened == _descriptors()
        if ran.file >= 0:
            os.close(ran.file)
        return replace(
            ran,
            memory=memory,
            page=(here / "page").read_bytes() if not page else b"",
            placed=[_content(each) for each in folders],
            incoming=_content(here / "incoming"),
            has_kept_descriptors=kept,
            most_bytes_on_disk=max(map(_bytes_on_disk, here.glob("place*/*")), default=0),
            is_quick=took_s < _QUICK_S,
        )


def _descriptors() -> set[str]:
    # The one that was open for the list is closed when all of it is here.
    return {each.name for each in list(_OPEN_FILES.iterdir()) if each.is_symlink()}


def _bytes_on_disk(path: Path) -> int:
    return path.stat().st_blocks * 512


def _content(folder: Path) -> dict[str, bytes]:
    return {each.name: each.read_bytes() for each in folder.iterdir()} if folder.is_dir() else {}


def messages_of(messages: MessageStream, memory: memoryview, head_size: int) -> tuple[Any, End]:
    """Return all messages that are whole, and how all ends; the first may be in memory."""
    heard = list[Message]()
    try:
        while True:
            _, request = messages.next_command()
            at = head_size
            while size := messages.read_into(memory[at:]):
                at += size
            heard.append((request, bytes(memory[head_size:at])))
    except AssociationOver as over:
        return heard, (type(over).__name__, over.abort)


def by_the_long_way(script: Script) -> tuple[list[Message], End]:
    """What is read where nobody takes a shorter way."""
    with following(Script([b"".join(script.pieces)])) as read:
        return messages_of(read.messages, memoryview(bytearray(1 << 21)), 0)


def assert_as_by_the_long_way(
    script: Script, kinds: int = 1, on_page: bytes = b"", **options: Any
) -> Ran:
    """Take what a script sends; then nothing is other than without the short way."""
    expected, expected_end = by_the_long_way(script)
    with following(script) as read:
        ran = run(read, kinds=kinds, on_page=on_page, **options)
        head_size = 0
        if ran.begun is None:
            read.layer.put_back(ran.rest)
        else:
            uid = read_command(ran.begun[0]).sop_instance_uid
            head_size = len(file_head(MR_IMAGE.encode(), uid, LITTLE))
            read.messages.resume(CONTEXT_ID, ran.begun[0], ran.rest, ran.begun[1])
        read_on = memoryview(bytearray(1 << 21))
        read_on[: len(ran.memory)] = ran.memory
        others, end = messages_of(read.messages, read_on, head_size)
        encoded = read.layer.encoded
    count = len(ran.done)
    assert (others, end) == (expected[count:], expected_end)
    assert (ran.end == compiled.VANISHED) <= (end[0] == "PeerVanished" and not others)
    answers = [encoded(CONTEXT_ID, response(each, SUCCESS)) for each, _ in expected[:count]]
    assert bytes(read.answers) + ran.unsent == b"".join(answers)
    assert_left_behind(ran, expected[:count], kinds, on_page)
    return ran


def assert_left_behind(
    ran: Ran, expected: list[Message], kinds: int = 1, on_page: bytes = b""
) -> None:
    """Files, receipts and what is told of them are those of these messages, and no more."""
    written, files, lines = list[IncomingInstance](), [dict[str, bytes]() for _ in range(kinds)], []
    digests = list[str]()
    assert ran.has_kept_descriptors
    for done, (request, data_set) in zip(ran.done, expected, strict=True):
        kind, uid, chance, number, size_bytes, _, _, _ = done
        assert kind == kind_of(data_set)
        name = f"{uid.decode()}.{chance.decode()}.dcm"
        file = file_head(MR_IMAGE.encode(), request.sop_instance_uid, LITTLE) + data_set
        files[kind][name] = file
        assert (uid, size_bytes) == (request.sop_instance_uid, len(file))
        digests.append(digest_of(memoryview(data_set)))
        written.append(
            EXPECTED[kind]._replace(
                sop_instance_uid=uid.decode(),
                instance_number=number,
                path=f"{FOLDERS[kind]}/{name}",
                size_bytes=size_bytes,
                dataset_digest="",
            )
        )
    assert ran.digests == digests
    assert ran.placed == files
    found = list(read_receipts(ran.page))
    for one, given in zip(found, written, strict=True):
        given = given._replace(received_at=one.received_at)
        assert one == given
        lines.append(ReceiptWriter().line(given))
    # Half of a line may stand before the first one.
    whole = b"".join(b"\n" + line for line in lines)
    assert ran.page == on_page + whole or any(not one.received_at.microsecond for one in found)
    names = {f"{ran.chance.decode()}.part"} if ran.file >= 0 else set()
    assert ran.incoming is not None
    assert set(ran.incoming) == names
