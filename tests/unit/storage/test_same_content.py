from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import StorageError
from storage.instance_files import InstanceFiles
from storage.same_content import Content, SameContent
from tests.unit.storage.comparing_node import FORGED, earlier_digests_of, sure_digest_of
from tests.unit.storage.kept_files import written
from tests.unit.storage.samples import digest_of, incoming


def _digests_of(data_set: bytes) -> list[str]:
    """Everything that the row of a data set may say, one that was forged at the end."""
    return [digest_of(data_set), sure_digest_of(data_set), *earlier_digests_of(data_set), FORGED]


@pytest.fixture(scope="module")
def many_files() -> Iterator[InstanceFiles]:
    with TemporaryDirectory() as folder:
        yield InstanceFiles(Path(folder), durability="os")


def _kept(files: InstanceFiles, data_set: bytes, digest: str) -> Content:
    return Content(written(files, incoming(1), data_set).path, digest)


@given(
    data_set=st.binary(max_size=3),
    known=st.binary(max_size=3),
    is_forged=st.booleans(),
    kind=st.integers(0, 4),
)
def test_the_same_is_what_has_the_same_bytes_whatever_the_digests_are(
    many_files: InstanceFiles, data_set: bytes, known: bytes, is_forged: bool, kind: int
) -> None:
    digest = FORGED if is_forged else digest_of(data_set)
    one = written(many_files, incoming(1), data_set)._replace(dataset_digest=digest)
    # Of one data set there are not two digests of the same kind: forged is one for all, or none.
    kinds = _digests_of(known)[1:] if is_forged else _digests_of(known)[:-1]
    same, kept = SameContent(many_files), _kept(many_files, known, kinds[kind % len(kinds)])

    assert same.is_same(one, kept) == (data_set == known)
    apart = same.apart(one, [kept])
    assert (apart.dataset_digest == kept.dataset_digest) == (
        data_set == known and kept.dataset_digest == digest
    )
    assert apart.dataset_digest in (digest, sure_digest_of(data_set))


def test_without_files_the_digest_alone_decides() -> None:
    same, one = SameContent(), incoming(1)

    assert same.is_same(one, Content("elsewhere", one.dataset_digest))
    assert not same.is_same(one, Content(one.path, "ab" * 32))
    assert same.apart(one, [Content("elsewhere", one.dataset_digest)]) == one


def test_nothing_is_read_of_what_differs_by_digest_or_lies_in_the_same_file(
    files: InstanceFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "has_same_data_set", lambda *_: pytest.fail("read"))
    monkeypatch.setattr(files, "sure_digest", lambda *_: pytest.fail("read"))
    same, one = SameContent(files), incoming(1)
    others = [Content("elsewhere", FORGED), Content(one.path, digest_of(b"as it was told before"))]

    assert [same.is_same(one, other) for other in others] == [False, True]
    assert same.apart(one, others) == one


def test_no_two_files_are_compared_twice(
    files: InstanceFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    same, kept = SameContent(files), _kept(files, b"x", FORGED)
    one = written(files, incoming(1), b"y")._replace(dataset_digest=FORGED)

    assert not same.is_same(one, kept)
    monkeypatch.setattr(files, "has_same_data_set", lambda *_: pytest.fail("read"))
    assert not same.is_same(one, kept)
    assert same.apart(one, [kept]).dataset_digest == sure_digest_of(b"y")


def test_one_of_several_that_share_a_digest_may_be_the_same(files: InstanceFiles) -> None:
    one = written(files, incoming(1), b"y")._replace(dataset_digest=FORGED)
    others = [_kept(files, data_set, FORGED) for data_set in (b"x", b"y")]

    assert SameContent(files).apart(one, others) == one
    assert SameContent(files).apart(one, others[:1]) != one


def test_what_may_be_the_same_as_something_lost_gets_a_digest_of_its_own(
    files: InstanceFiles,
) -> None:
    same, one = SameContent(files), written(files, incoming(1), b"x")
    lost = Content("instances/lost.dcm", one.dataset_digest)

    assert not same.is_same(one, lost)
    assert same.apart(one, [lost]).dataset_digest == sure_digest_of(b"x")


def test_an_instance_that_cannot_be_read_is_neither_the_same_nor_another(
    files: InstanceFiles,
) -> None:
    one = incoming(1)
    kept = _kept(files, b"x", one.dataset_digest)

    with pytest.raises(StorageError, match="ENOENT"):
        SameContent(files).is_same(one, kept)
    with pytest.raises(StorageError, match="ENOENT"):
        SameContent(files).apart(one, [kept])
