"""A run of mixed series: each instance is taken as one of its own, or left to the long way."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from tests.peers.raw_dicom import A_RELEASE_RQ, LAST, p_data, pdu, pdv
from tests.unit.node_receive.like_kinds import (
    KINDS,
    command,
    like,
    like_before,
    slice_of,
    texts,
    uid_of,
    usual_texts,
)
from tests.unit.node_receive.like_slices import slice_with
from tests.unit.node_receive.run_taking import (
    assert_as_by_the_long_way,
    compiled,
    following,
    run,
    usual_run,
)
from tests.unit.node_receive.scripted_stream import CONTEXT_ID, Script

RELEASE = pdu(A_RELEASE_RQ)
MIXED = [like(number, 200, kind=number % KINDS) for number in range(2, 8)]


def other_series(number: int) -> bytes:
    content = slice_with(series=b"1.2.3.6\0", sop_instance=b"1.2.3.4.%04d" % number)
    request = command(f"1.2.3.4.{number:04}", number)
    return request + p_data(pdv(CONTEXT_ID, LAST, content))


@settings(max_examples=150, deadline=None)
@given(
    order=st.lists(st.tuples(st.integers(0, KINDS), st.integers(1, 99)), min_size=1, max_size=8),
    cuts=st.lists(st.integers(0, 6000), max_size=3),
    end=st.none() | st.integers(0, 6000),
)
def test_series_in_any_order_are_taken_each_as_its_own(
    order: list[tuple[int, int]], cuts: list[int], end: int | None
) -> None:
    wire = b"".join(
        other_series(number) if kind == KINDS else like(number, kind=kind) for kind, number in order
    )
    wire = (wire + RELEASE)[:end]
    ends = sorted({cut % (len(wire) + 1) for cut in cuts})
    pieces = [wire[a:b] for a, b in zip([0, *ends], [*ends, len(wire)], strict=True)]
    ran = assert_as_by_the_long_way(Script(pieces), kinds=KINDS)

    event(f"end: {ran.end}")
    if end is None:
        unknown = [at for at, (kind, _) in enumerate(order) if kind == KINDS]
        assert ran.has_taken(min([*unknown, len(order)]))


def test_wherever_the_wire_is_cut_all_before_it_is_taken_and_nothing_is_lost() -> None:
    wire = b"".join(MIXED)
    for cut in range(0, len(wire), 41):
        assert_as_by_the_long_way(Script([wire[:cut]]), kinds=KINDS)


def test_a_series_that_is_none_of_the_kinds_ends_the_run() -> None:
    wire = b"".join([*MIXED[:2], other_series(9), *MIXED[2:]])
    ran = assert_as_by_the_long_way(Script([wire + RELEASE]), kinds=KINDS)

    assert ran.has_taken(2)
    assert (ran.end, ran.begun is not None) == (compiled.OTHERWISE, True) or not ran.is_quick


def test_a_header_that_differs_in_a_byte_is_of_no_other_kind() -> None:
    content = slice_of(1, sop_instance=b"1.2.3.4.2\0")
    for at in range(0, len(content) - 250, 7):
        changed = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
        wire = command(uid_of(2), 2) + p_data(pdv(CONTEXT_ID, LAST, changed))
        assert_as_by_the_long_way(Script([wire]), kinds=KINDS)


def test_a_folder_that_is_gone_concerns_its_own_series_alone() -> None:
    with following(Script([b"".join(MIXED) + RELEASE])) as read:
        ran = run(read, kinds=KINDS, lost=1)

    assert ran.has_taken(len(MIXED))
    assert [bool(digest) for digest in ran.digests] == [one[0] != 1 for one in ran.done]
    assert ran.incoming is not None
    assert len(ran.incoming) == ran.digests.count("") + (ran.file >= 0)
    assert ran.placed is not None
    assert [len(each) for each in ran.placed] == [2, 0, 2] or not ran.is_quick


def test_as_many_kinds_as_there_are_places_for_and_no_more() -> None:
    most = usual_texts.MOST_KINDS_TOGETHER
    assert usual_texts.UsualTexts(*texts_of(most)).head_bytes
    for count in (0, most + 1):
        with pytest.raises(ValueError, match="number of kinds"):
            usual_texts.UsualTexts(*texts_of(count))


def texts_of(count: int) -> tuple[Any, ...]:
    three = (bytes(200), bytes(4), b"")
    return three, three, (bytes(200), bytes(4)), [(b"", b"", b"", b"")] * count


@pytest.mark.parametrize("headers", [0, 1, 3])
def test_each_kind_has_a_header_of_its_own(headers: int) -> None:
    with pytest.raises(ValueError, match="as many headers"):
        usual_run.UsualRun(0, 1, 9, [like_before()] * headers, texts(kinds=2), b"/tmp", 0)
    with pytest.raises(TypeError):
        usual_run.UsualRun(0, 1, 9, [like_before(), b"no header"], texts(kinds=2), b"/tmp", 0)
    with pytest.raises(ValueError, match="no header"):
        usual_run.UsualRun(0, 1, 9, [like_before(), None], texts(kinds=2), b"/tmp", 0)
