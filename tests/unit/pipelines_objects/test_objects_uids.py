from __future__ import annotations

import re
from dataclasses import astuple

from hypothesis import given
from hypothesis import strategies as st

from pipelines.objects.uids import (
    IMPLEMENTATION_CLASS_UID,
    device_uid,
    result_uid,
    result_uids,
    tracking_uid,
)

DIGESTS = st.text(alphabet="0123456789abcdef", min_size=64, max_size=64)
UUID_DERIVED = re.compile(r"2\.25\.(0|[1-9]\d{0,38})")


@given(inputs=DIGESTS, pipeline=DIGESTS)
def test_the_same_digests_give_the_same_valid_uids(inputs: str, pipeline: str) -> None:
    uids = astuple(result_uids(inputs, pipeline))
    assert uids == astuple(result_uids(inputs, pipeline))
    assert len(set(uids)) == len(uids)
    assert all(UUID_DERIVED.fullmatch(uid) and len(uid) <= 64 for uid in uids)


@given(st.sets(DIGESTS, min_size=2, max_size=2))
def test_another_input_or_another_pipeline_gives_other_uids(digests: set[str]) -> None:
    first, second = sorted(digests)
    assert result_uid(first, first, "sr") != result_uid(second, first, "sr")
    assert result_uid(first, first, "sr") != result_uid(first, second, "sr")
    assert tracking_uid(first, second, 1) != tracking_uid(second, first, 1)
    assert device_uid(first) != device_uid(second)


def test_each_structure_of_a_result_is_tracked_under_its_own_uid() -> None:
    uids = {tracking_uid("a" * 64, "b" * 64, value) for value in range(1, 105)}
    assert len(uids) == 104
    assert all(UUID_DERIVED.fullmatch(uid) for uid in uids)


def test_the_implementation_class_uid_stays_the_same() -> None:
    assert IMPLEMENTATION_CLASS_UID == "2.25.125745360328004953155576134511172044670"
