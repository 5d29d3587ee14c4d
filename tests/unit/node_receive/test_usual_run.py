"""A run of like instances: each taken as it was sent, or left to the long way as if untouched."""

from __future__ import annotations

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from node.receive.file_meta import file_head
from tests.peers.raw_dicom import (
    A_ABORT,
    A_RELEASE_RQ,
    C_STORE_RQ,
    COMMAND,
    LAST,
    command_set,
    p_data,
    pdu,
    pdv,
    store_command,
)
from tests.unit.node_receive.like_kinds import command, like, texts, uid_of
from tests.unit.node_receive.like_slices import LITTLE, slice_with
from tests.unit.node_receive.run_taking import (
    assert_as_by_the_long_way,
    compiled,
    following,
    run,
    usual_run,
)
from tests.unit.node_receive.scripted_stream import CONTEXT_ID, Script, claimed, in_values
from tests.unit.storage.samples import MR_IMAGE

RELEASE = pdu(A_RELEASE_RQ)
THREE = [like(2), like(3, 300), like(10, 64)]


def with_request(encoded: bytes, control: int = COMMAND | LAST) -> bytes:
    content = slice_with(sop_instance=b"1.2.3.4.2\0", number=b"2 ")
    return p_data(pdv(CONTEXT_ID, control, encoded)) + p_data(pdv(CONTEXT_ID, LAST, content))


PLAIN = store_command("1.2.3.4.2", message_id=2)
ODD = {
    "another message": p_data(pdv(CONTEXT_ID, COMMAND | LAST, PLAIN.replace(b"\1\0", b"\x30\0"))),
    "another priority": with_request(PLAIN.replace(b"\2\0\0\0\2\0", b"\2\0\0\0\1\0")),
    "another SOP class": with_request(PLAIN.replace(b".1.1.4", b".1.1.2")),
    "more behind": with_request(PLAIN + b"\0\0\1\x11\0\0\0\0"),
    "cut": with_request(PLAIN[:-1]),
    "half of it": with_request(PLAIN[: len(PLAIN) // 2]),
    "a wrong group length": with_request(PLAIN[:8] + b"\0\0\0\0" + PLAIN[12:]),
    "a huge UID": with_request(PLAIN[:-14] + b"\xff\xff\xff\xff" + PLAIN[-10:]),
    "a longer UID": with_request(PLAIN[:-14] + b"\x0c\0\0\0" + PLAIN[-10:]),
    "nothing": with_request(b""),
    "one byte": with_request(b"\0"),
    "not all of it": with_request(PLAIN, COMMAND),
    "bits that say nothing": with_request(PLAIN, COMMAND | LAST | 0x80),
    "a data set": with_request(PLAIN, LAST),
    "a long one": with_request(PLAIN + bytes(2000)),
    "as long as any": with_request(PLAIN + bytes(1024 - 6 - len(PLAIN))),
    "two values": p_data(pdv(CONTEXT_ID, COMMAND | LAST, PLAIN), pdv(CONTEXT_ID, 0, b"x")),
    "another context": p_data(pdv(5, COMMAND | LAST, PLAIN)),
    "no context": p_data(pdv(CONTEXT_ID, COMMAND | LAST, PLAIN, length=1)),
    "too long a value": p_data(pdv(CONTEXT_ID, COMMAND | LAST, PLAIN, length=1 << 30)),
    "too long": claimed((1 << 16) + 1),
    "huge": claimed(2**32 - 1),
    "empty": p_data(),
    "five bytes": p_data(bytes(5)),
    "six bytes": p_data(bytes(6)),
    "an abort": pdu(A_ABORT),
    "a release": RELEASE,
    "no PDU": pdu(9),
    "a byte": b"\4",
    "eleven bytes": p_data(pdv(CONTEXT_ID, COMMAND | LAST, PLAIN))[:11],
}
_UIDS = st.one_of(
    st.integers(0, 10**9).map(uid_of),
    st.integers(1, 64).map(lambda size: ("1." + "12345.6789" * 7)[:size].rstrip(".")),
    st.sampled_from([".1", "1.", "1..2", "", "a", "1.2/3", "../1", "1.2\n", "1\x002", "1" * 65]),
)


@st.composite
def _instances(draw: st.DrawFn) -> tuple[bytes, bool]:
    """A request with its data set, and whether it is to be taken."""
    uid, message_id = draw(_UIDS).encode(), draw(st.integers(0, 0xFFFF))
    padding = draw(st.sampled_from([b"", b"\0", b" ", b"\0\0", b" \0"]))
    number = draw(st.integers(0, 10**9 - 1))
    content = slice_with(sop_instance=uid + b"\0" * (len(uid) % 2), number=b"%d" % number)
    asked = uid + padding * draw(st.integers(0, 1))
    encoded = store_command(asked.decode(), message_id=message_id)
    is_plain = uid_is_plain(uid) and len(asked) <= 64
    if draw(st.integers(0, 9)) == 0:
        is_plain, content = False, draw(st.sampled_from([b"", content[:-1], content + b"\0"]))
    sizes = draw(st.lists(st.integers(1, 4000), min_size=1, max_size=3))
    values = in_values(content, sizes)
    pdus = [p_data(pdv(CONTEXT_ID, COMMAND | LAST, encoded)), *map(p_data, values)]
    if draw(st.integers(0, 9)) == 0:
        is_plain = False
        at = draw(st.integers(0, len(pdus)))
        pdus.insert(at, draw(st.sampled_from(sorted(ODD.values()))))
    return b"".join(pdus), is_plain


def uid_is_plain(uid: bytes) -> bool:
    parts = uid.decode().split(".")
    return len(uid) <= 64 and all(part.isascii() and part.isdigit() for part in parts)


@settings(max_examples=200, deadline=None)
@given(
    instances=st.lists(_instances(), min_size=1, max_size=5),
    changes=st.lists(st.tuples(st.integers(0, 9000), st.integers(0, 255)), max_size=1)
    | st.just([]),
    cuts=st.lists(st.integers(0, 9000), max_size=5),
    end=st.none() | st.integers(0, 9000),
    places=st.integers(1, 6),
)
def test_whatever_comes_is_taken_as_it_is_or_given_back(
    instances: list[tuple[bytes, bool]],
    changes: list[tuple[int, int]],
    cuts: list[int],
    end: int | None,
    places: int,
) -> None:
    wire = bytearray(b"".join(content for content, _ in instances) + RELEASE)
    for at, value in changes:
        wire[at % len(wire)] = value
    content = bytes(wire if end is None else wire[: end % len(wire)])
    ends = sorted({cut % (len(content) + 1) for cut in cuts})
    pieces = [content[a:b] for a, b in zip([0, *ends], [*ends, len(content)], strict=True)]
    ran = assert_as_by_the_long_way(Script(pieces), places=places)

    event(f"end: {ran.end}, {len(ran.done)} of {len(instances)}")
    if end is None and not changes and all(is_plain for _, is_plain in instances):
        assert ran.has_taken(min(places, len(instances)))


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("number", [0, 1, 2])
def test_an_odd_request_ends_the_run_and_is_met_by_the_long_way(name: str, number: int) -> None:
    wire = b"".join([*THREE[:number], ODD[name], like(4)])
    for pieces in ([wire], [wire[at : at + 7] for at in range(0, len(wire), 7)]):
        ran = assert_as_by_the_long_way(Script(pieces))
        assert ran.has_taken(number)
        assert (ran.end, ran.begun) == (compiled.OTHERWISE, None) or not ran.is_quick


def test_wherever_the_wire_is_cut_all_before_it_is_taken_and_nothing_is_lost() -> None:
    wire = b"".join(THREE)
    ends = [len(THREE[0]), len(THREE[0]) + len(THREE[1]), len(wire)]
    for cut in [
        *range(0, len(wire), 23),
        *(end + by for end in ends for by in (-1, 0, 1, 6, 11, 12)),
    ]:
        ran = assert_as_by_the_long_way(Script([wire[:cut]]))
        assert ran.has_taken(sum(end <= cut for end in ends)), cut


@pytest.mark.parametrize("uid", [".12", "12.", "1..2", ".", "1/2", "1\0.2", "1 2", "a.1", "1.2\n"])
def test_what_is_no_uid_never_becomes_the_name_of_a_file(uid: str) -> None:
    ran = assert_as_by_the_long_way(Script([like(2) + like(3, uid=uid) + RELEASE]))

    assert ran.has_taken(1)
    assert ran.uids in ([], [b"1.2.3.4.2"])


@pytest.mark.parametrize("other", [b"\0\0\x31\x10\2\0\0\0\4\0", b"\0\0\x31\x10\2\0\0\0\3\0"])
def test_what_stands_behind_the_uid_is_to_be_the_same(other: bytes) -> None:
    more = b"\0\0\x31\x10\2\0\0\0\3\0"
    first, second = (
        command_set(C_STORE_RQ, message_id=2, sop_instance=uid_of(2), data_set=0, more=each)
        for each in (more, other)
    )
    script = Script([with_request(first) + with_request(second) + RELEASE])
    ran = assert_as_by_the_long_way(script, first_request=first)

    assert ran.has_taken(1 + (other == more))


def test_no_more_are_taken_than_there_are_places() -> None:
    wire = b"".join(map(like, range(2, 9)))
    for places in (1, 2, 6, 7, 8):
        ran = assert_as_by_the_long_way(Script([wire + RELEASE]), places=places)
        assert ran.has_taken(min(places, 7))
        assert ran.end == (compiled.STORED if len(ran.done) == places else compiled.OTHERWISE)


def test_an_instance_that_comes_twice_lies_in_two_files() -> None:
    ran = assert_as_by_the_long_way(Script([like(2) * 3 + RELEASE]))

    assert ran.has_taken(3)
    assert set(ran.uids) == {b"1.2.3.4.2"}
    assert len({one[2] for one in ran.done}) == len(ran.done)


@pytest.mark.parametrize("room", [0, 1, 100, len(slice_with()) - 1, len(slice_with())])
def test_a_data_set_for_which_there_is_no_room_is_left_to_the_long_way(room: int) -> None:
    content = slice_with()
    wire = command(uid_of(1)) + p_data(pdv(CONTEXT_ID, LAST, content)) + RELEASE
    ran = assert_as_by_the_long_way(Script([wire]), room=room)
    assert len(ran.done) == (room == len(content))


@pytest.mark.parametrize("most", [-1, 1001, 2**62, 2**63 - 1, -(2**63)])
def test_memory_that_is_too_short_is_refused(most: int) -> None:
    with following(Script([THREE[0]])) as read, pytest.raises(ValueError, match="short"):
        run(read, room=1000, most=most)


def test_more_instances_than_there_is_room_for_are_refused() -> None:
    with following(Script([b"".join(THREE)])) as read:
        with pytest.raises(ValueError, match="more instances"):
            run(read, places=usual_run.MOST_INSTANCES + 1)
        assert bytes(read.answers) == b""


def test_a_run_goes_on_as_long_as_there_is_room() -> None:
    most = usual_run.MOST_INSTANCES
    wire = b"".join(like(number) for number in range(2, most + 3))
    ran = assert_as_by_the_long_way(Script([wire]), places=most)
    assert ran.has_taken(most)


def test_where_nothing_takes_digests_they_are_left_to_others() -> None:
    with following(Script([b"".join(THREE) + RELEASE])) as read:
        ran = run(read, xxh3=0)

    assert ran.has_taken(3)
    assert not any(ran.digests)
    assert ran.placed is not None
    assert len(ran.placed[0]) == len(ran.done)


@pytest.mark.parametrize("which", ["file", "page"])
def test_what_cannot_be_written_is_left_to_the_long_way(which: str) -> None:
    with following(Script([b"".join(THREE)])) as read:
        ran = run(read, **{which: "/dev/full"})  # type: ignore[arg-type]

    assert (ran.end, ran.done) == (compiled.FAILED, [])
    assert ran.begun is not None
    assert ran.begun[1] == len(slice_with(sop_instance=b"1.2.3.4.2\0", number=b"2"))
    assert (bytes(read.answers), ran.placed, ran.page) == (b"", [{}], b"")
    assert ran.has_kept_descriptors


def test_where_no_next_file_can_be_made_one_instance_is_taken() -> None:
    with following(Script([b"".join(THREE)])) as read:
        ran = run(read, incoming="missing")

    # Nor can the one that was taken be moved to its place: its row's writer does that.
    assert (ran.end, ran.file, ran.placed) == (compiled.STORED, -1, [{}])
    assert ran.digests == [""]
    assert ran.rest.endswith(THREE[2])


def test_a_file_that_cannot_be_moved_is_left_where_it_came_in() -> None:
    with following(Script([b"".join(THREE) + RELEASE])) as read:
        ran = run(read, lost=0)

    assert ran.has_taken(3)
    assert not any(ran.digests)
    assert ran.incoming is not None
    names = [f"{one[2].decode()}.part" for one in ran.done]
    assert set(ran.incoming) == {*names, f"{ran.chance.decode()}.part"}
    assert [len(ran.incoming[name]) for name in names] == [one[4] for one in ran.done]
    assert ran.has_kept_descriptors


def test_what_is_reserved_and_not_needed_goes() -> None:
    ran = assert_as_by_the_long_way(Script([b"".join(THREE) + RELEASE]), reserved=1 << 20)

    assert ran.has_taken(3)
    assert ran.most_bytes_on_disk < 1 << 20


def test_a_receipt_that_is_longer_than_any_is_not_written() -> None:
    for size, end in ((15_000, compiled.STORED), (16_250, compiled.FAILED)):
        with following(Script([like(2)])) as read:
            ran = run(read, places=1, before=b"x" * size)
        assert (ran.end, bool(ran.page)) == (end, end == compiled.STORED)
    with following(Script([like(2)])) as read, pytest.raises(ValueError, match="too long"):
        run(read, before=b"x" * (1 << 14))


def test_the_head_of_a_file_has_room_for_the_longest_uid() -> None:
    uids = ["1" * size for size in (1, 2, 63, 64)]
    wire = b"".join(like(number, uid=uid) for number, uid in enumerate(uids))
    ran = assert_as_by_the_long_way(Script([wire + RELEASE]))

    assert ran.has_taken(len(uids))
    longest = len(file_head(MR_IMAGE.encode(), b"1" * 64, LITTLE))
    assert texts().head_bytes == longest
