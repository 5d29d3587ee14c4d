"""A run of like instances in hard times: none is lost, nothing of one gets into another's file."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from storage.instance_files import InstanceFiles
from storage.instances import instances_of_series
from tests.integration.node_receive.both_ways import (
    MR,
    QUICK,
    Node,
    answers,
    command,
    compiled,
    counted,
    node_in,
    slice_of,
    stored,
)
from tests.integration.node_receive.mr_study import SERIES
from tests.peers.raw_dicom import EXPLICIT, LAST, RawPeer, p_data, pdv
from tests.unit.node_receive.like_slices import Field

NINE = f"{SERIES}.9"
NESTED = Field(0x7FE11010, b"SQ", b"\xfe\xff\xdd\xe0\0\0\0\0").encoded(EXPLICIT, 0xFFFFFFFF)


def test_what_was_refused_for_a_low_disk_leaves_nothing_in_the_next_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = slice_of(9, PixelData=bytes(400_000)) + NESTED
    parts = [content[at : at + 16_000] for at in range(0, len(content), 16_000)]
    fragments = [p_data(pdv(MR, LAST * (part is parts[-1]), part)) for part in parts]
    with (
        counted(monkeypatch) as ends,
        node_in(tmp_path, ends, QUICK) as node,
        RawPeer(node.port) as peer,
    ):
        peer.associate()
        for number in (1, 2, 3, 4):
            peer.send(stored(number, slice_of(number)))
            assert answers(peer, 1) == [(number, 0)]
        peer.send(command(NINE, 9), *fragments[:20])
        time.sleep(0.2)
        with monkeypatch.context() as patch:
            # It gets low while an instance comes that is not like the others at its end.
            patch.setattr(InstanceFiles, "is_low", lambda *_: True)
            peer.send(*fragments[20:])
            assert answers(peer, 1) == [(9, 0xA700)]
        for number in (5, 6):
            peer.send(stored(number, slice_of(number)))
            assert answers(peer, 1) == [(number, 0)]
    assert compiled.OTHERWISE in ends
    node_files = _files(node)
    assert {number: content[-len(slice_of(number)) :] for number, content in node_files} == {
        number: slice_of(number) for number in range(1, 7)
    }
    assert _sizes(node) == [len(content) for _, content in node_files]


def _files(node: Node) -> list[tuple[int, bytes]]:
    return sorted(
        (int(path.name.split(".")[-3]), path.read_bytes())
        for path in (node.files.data_dir / "instances").rglob("*.dcm")
    )


def _sizes(node: Node) -> list[int]:
    return [one.size_bytes for one in instances_of_series(node.db, SERIES)]
