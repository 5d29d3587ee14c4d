from __future__ import annotations

import hashlib
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.receive.content_digest import content_digest


def _part10(meta: bytes, dataset: bytes) -> bytes:
    length = len(meta).to_bytes(4, "little")
    return bytes(128) + b"DICM\x02\x00\x00\x00UL\x04\x00" + length + meta + dataset


@given(meta=st.binary(max_size=300), dataset=st.binary(max_size=5000))
def test_both_digests_are_of_just_their_bytes(meta: bytes, dataset: bytes) -> None:
    content = _part10(meta, dataset)

    digest = content_digest(BytesIO(content))

    assert digest.sha256 == hashlib.sha256(content).hexdigest()
    assert digest.dataset_sha256 == hashlib.sha256(dataset).hexdigest()
    assert digest.size == len(content)
    assert content[digest.offset :] == dataset


def test_who_wrote_the_file_does_not_change_the_digest_of_the_data_set() -> None:
    one = content_digest(BytesIO(_part10(b"writer one", b"the same")))
    other = content_digest(BytesIO(_part10(b"another writer", b"the same")))

    assert one.dataset_sha256 == other.dataset_sha256
    assert one.sha256 != other.sha256


def test_what_is_no_part_10_file_has_no_digest() -> None:
    with pytest.raises(ValueError, match="Part 10"):
        content_digest(BytesIO(bytes(500)))
