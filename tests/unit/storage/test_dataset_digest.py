from __future__ import annotations

import re
import struct
from hashlib import sha256
from pathlib import Path
from tempfile import NamedTemporaryFile

import pytest
from hypothesis import given
from hypothesis import strategies as st
from xxhash import xxh3_128_hexdigest

from storage import dataset_digest as module
from storage.dataset_digest import (
    DatasetDigest,
    are_different,
    dataset_digest,
    is_sure,
    sure_digest,
)
from storage.errors import StorageError
from storage.instance_files import InstanceFiles
from tests.unit.storage.comparing_node import earlier_digests_of, sure_digest_of
from tests.unit.storage.kept_files import HEAD
from tests.unit.storage.samples import digest_of


@given(st.lists(st.binary(max_size=300), max_size=6))
def test_a_digest_does_not_hang_on_the_fragments(fragments: list[bytes]) -> None:
    digest, whole = DatasetDigest(), b"".join(fragments)
    for fragment in fragments:
        digest.take(memoryview(fragment))

    assert digest.text() == digest_of(whole) == module.digest_of(memoryview(whole))
    assert digest.text() == f"xxh3:{xxh3_128_hexdigest(whole)}"
    assert re.fullmatch("xxh3:[0-9a-f]{32}", digest.text())


def test_another_bit_is_another_digest() -> None:
    assert digest_of(b"\0") != digest_of(b"\1") != digest_of(b"") != digest_of(b"\0")


@given(st.binary(max_size=5000))
def test_the_digests_of_a_file_are_of_the_data_set_behind_its_head(data_set: bytes) -> None:
    with NamedTemporaryFile() as file:
        file.write(HEAD + data_set)
        file.flush()

        assert dataset_digest(Path(file.name)) == digest_of(data_set)
        assert sure_digest(Path(file.name)) == f"sha256:{sha256(data_set).hexdigest()}"


@pytest.mark.parametrize("content", [b"", b"DICM", HEAD[:-1]])
def test_a_file_without_a_head_has_no_digest(content: bytes, files: InstanceFiles) -> None:
    path = files.data_dir / "short"
    path.write_bytes(content)

    with pytest.raises(struct.error):
        sure_digest(path)
    with pytest.raises(StorageError, match="shorter than its head"):
        files.dataset_digest("short")
    with pytest.raises(StorageError, match="shorter than its head"):
        files.sure_digest("short")


def test_only_two_digests_of_this_version_can_say_that_data_sets_differ() -> None:
    one, other = digest_of(b"x"), digest_of(b"y")

    assert are_different(one, other)
    assert not are_different(one, one)
    for unlike in (*earlier_digests_of(b"y"), sure_digest_of(b"y")):
        assert not are_different(one, unlike)
        assert not are_different(unlike, one)


def test_only_a_sha_256_of_this_version_is_sure() -> None:
    assert is_sure(sure_digest_of(b"x"))
    assert not any(map(is_sure, (digest_of(b"x"), *earlier_digests_of(b"x"))))
