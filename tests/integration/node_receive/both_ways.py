"""What a sender is told, and what is kept of it, with the short way and without it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

from config.settings import ReceiveSettings, SenderSettings, Settings, StorageSettings
from node.receive import short_run, short_way
from node.receive.listener import Listener
from storage.audit import list_audit
from storage.database import Database
from storage.instance_files import InstanceFiles
from storage.instances import instances_of_series
from storage.quarantine import list_quarantine
from storage.receipts import paths_in_receipts
from storage.studies import list_studies
from tests.integration.node_receive.mr_study import ROOT, SERIES, mr_instance
from tests.integration.node_receive.sender import encoded
from tests.migrated_database import migrated_database
from tests.peers.ports import wait_until
from tests.peers.raw_dicom import (
    COMMAND,
    LAST,
    P_DATA_TF,
    RawPeer,
    p_data,
    pdv,
    split_command,
    split_pdvs,
    store_command,
)

compiled = pytest.importorskip("node.receive.usual_instance")
usual_run = pytest.importorskip("node.receive.usual_run")
"""It is built where there is a compiler."""

MR = 3
OTHER_SERIES = f"{ROOT}.1.2"
QUICK = StorageSettings(disk_low_mib=0, durability="os")
END = -1


class Node(NamedTuple):
    """A listener in a folder of its own, and how often the short way ended how."""

    listener: Listener
    port: int
    db: Database
    files: InstanceFiles
    ends: list[int]

    def await_end(self) -> None:
        """Wait until nothing is under way any more."""
        wait_until(self._has_ended, what="the end of the association")
        wait_until(lambda: not list(self.files.incoming_dir.iterdir()), what="no incoming file")
        wait_until(lambda: not paths_in_receipts(self.files.data_dir), what="no receipt")

    def _has_ended(self) -> bool:
        return "dicom_instances_transferred" in {one.event for one in list_audit(self.db, 99)}


class Kept(NamedTuple):
    """All that is kept, but for what no two runs have in common."""

    rows: list[tuple[object, ...]]
    files: list[tuple[str, bytes]]
    quarantined: list[tuple[object, ...]]
    studies: list[object]
    audit: list[object]


@contextmanager
def counted(
    patch: pytest.MonkeyPatch, *, has_short_way: bool = True, full: int | None = None
) -> Iterator[list[int]]:
    """Note how the short way ends, or leave it out; `full`: the argument that is a full disk."""
    ends: list[int] = []

    class Run:
        """Takes as `usual_run` does."""

        def __init__(self, *arguments: Any) -> None:
            self._run = usual_run.UsualRun(*arguments)

        def take(self, *arguments: Any) -> Any:
            end, *more, done, begun, unsent = _taken_by(self._run.take, arguments, full)
            ends.extend(compiled.STORED for _ in done)
            ends.extend([end] * (begun is not None))
            return end, *more, done, begun, unsent

    with patch.context() as context:
        context.setattr(short_run, "usual_run", SimpleNamespace(UsualRun=Run))
        if not has_short_way:
            context.setattr(short_way, "MOST", 0)
        yield ends


def _taken_by(take: Callable[..., Any], arguments: tuple[Any, ...], full: int | None) -> Any:
    if full is None:
        return take(*arguments)
    with Path("/dev/full").open("wb", buffering=0) as file:
        return take(*arguments[:full], file.fileno(), *arguments[full + 1 :])


@contextmanager
def node_in(
    folder: Path, ends: list[int], storage: StorageSettings, **limits: Any
) -> Iterator[Node]:
    sender = SenderSettings(ae_title="PACS", **limits)
    receive = ReceiveSettings(port=0, senders=(sender,), dimse_timeout_s=5, network_timeout_s=5)
    db = migrated_database(folder / "radnode.db")
    files = InstanceFiles(folder / "data", storage.durability)
    listener = Listener(
        Settings(receive=receive, storage=storage),
        db,
        files,
        on_change=lambda: None,
        housekeeping_s=0.02,
    )
    try:
        yield Node(listener, listener.start(), db, files, ends)
    finally:
        listener.stop()
        db.close()


def slice_of(number: int = 1, **changes: object) -> bytes:
    """A slice's data set; other values by keyword."""
    dataset = mr_instance(number)
    for keyword, value in changes.items():
        setattr(dataset, keyword, value)
    return encoded(dataset)


def stored(number: int, data_set: bytes, *, size: int = 1 << 20, uid: str = "") -> bytes:
    """A C-STORE request in fragments of that size."""
    parts = [data_set[at : at + size] for at in range(0, len(data_set), size)] or [b""]
    values = [pdv(MR, 0, part) for part in parts[:-1]] + [pdv(MR, LAST, parts[-1])]
    return command(uid or f"{SERIES}.{number}", number) + b"".join(map(p_data, values))


def command(uid: str, message_id: int = 1) -> bytes:
    return p_data(pdv(MR, COMMAND | LAST, store_command(uid, message_id=message_id)))


def answers(peer: RawPeer, count: int) -> list[tuple[int, ...]]:
    """Message ID and status of so many answers, then how the association ended, if it did."""
    heard: list[tuple[int, ...]] = []
    while len(heard) < count:
        answer = peer.receive()
        if answer is None or answer[0] != P_DATA_TF:
            return [*heard, (END, *(answer or (0, b""))[1])]
        ((_, _, value),) = split_pdvs(answer[1])
        elements = split_command(value)
        heard.append(tuple(int.from_bytes(elements[at], "little") for at in (0x0120, 0x0900)))
    return heard


def kept(node: Node) -> Kept:
    """What is kept when all is over."""
    node.await_end()
    folders = (node.files.data_dir / "instances").glob("*/*")
    records = [
        one
        for series in sorted({SERIES, OTHER_SERIES, *(folder.name for folder in folders)})
        for one in instances_of_series(node.db, series)
    ]
    return Kept(
        [
            (
                one.sop_instance_uid,
                str(one.path.parent),
                one.sop_class_uid,
                one.transfer_syntax_uid,
                one.instance_number,
                one.size_bytes,
                one.dataset_digest,
            )
            for one in records
        ],
        sorted(
            (path.name.rpartition(".")[0].rpartition(".")[0], path.read_bytes())
            for path in node.files.data_dir.rglob("*.dcm")
        ),
        [(one.reason, one.sop_instance_uid, one.size_bytes) for one in list_quarantine(node.db)],
        [(one.header, one.generation) for one in list_studies(node.db, 9)],
        [(one.event, one.outcome, one.detail) for one in list_audit(node.db, 99)],
    )


def by_both_ways(
    patch: pytest.MonkeyPatch,
    send: Callable[[Node], object],
    storage: StorageSettings = QUICK,
    full: int | None = None,
    **limits: Any,
) -> tuple[Any, Kept, list[int]]:
    """What `send` returned, what is kept of it, and how often the short way ended how.

    All but the last is held against what it is without the short way.
    """
    results = []
    for has_short_way in (False, True):
        with (
            tempfile.TemporaryDirectory() as folder,
            counted(patch, has_short_way=has_short_way, full=full) as ends,
            node_in(Path(folder), ends, storage, **limits) as node,
        ):
            told = send(node)
            results.append((told, kept(node), ends))
    without, having = results
    assert having[0] == without[0], (having[0], without[0])
    for name, one, other in zip(Kept._fields, having[1], without[1], strict=True):
        assert one == other, (name, *_differing(one, other))
    assert not without[2]
    return having


def _differing(one: Any, other: Any) -> tuple[Any, Any]:
    """Return what only one of them has, the begin of long ones."""
    only, lacking = ([each for each in a if each not in b] for a, b in ((one, other), (other, one)))
    return repr(only)[:2000], repr(lacking)[:2000]
