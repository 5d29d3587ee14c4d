"""What a label map is made to say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from pipelines.findings import Findings, find
from pipelines.measurements import volumes_ml
from pipelines.objects.uids import tracking_uid
from storage.records import Outcome
from tests.unit.pipelines.definitions import definition, values

VOXEL_ML = 0.002


def found(label_map: NDArray[Any], **smallest_ml: float) -> Findings:
    segments = values()["segments"]
    for item in segments:
        item["min_volume_ml"] = smallest_ml.get(item["label"].lower(), 0.0)
    wanted = definition(segments=segments)
    return find(wanted, label_map, VOXEL_ML, input_digest="in", pipeline_digest="pipe")


def labels(low: int, high: int, other: int = 0) -> NDArray[np.uint8]:
    """A label map with so many voxels of value 1, 2 and 5."""
    flat = np.zeros(1000, dtype=np.uint8)
    flat[:low], flat[low : low + high], flat[low + high : low + high + other] = 1, 2, 5
    return flat.reshape(10, 10, 10)


def values_of(findings: Findings) -> set[int]:
    assert isinstance(findings.label_map, np.ndarray)
    return {int(value) for value in np.unique(findings.label_map)}


def test_both_structures_are_numbered_and_measured() -> None:
    findings = found(labels(100, 30))
    assert findings.outcome is Outcome.FINDINGS
    assert [(s.segment_number, s.label) for s in findings.structures] == [(1, "Low"), (2, "High")]
    assert [m.value for m in findings.measurements] == pytest.approx([0.2, 0.06])
    assert {m.unit.value for m in findings.measurements} == {"mL"}
    assert {m.quantity.value for m in findings.measurements} == {"118565006"}


def test_an_absent_structure_has_a_measurement_and_no_number() -> None:
    findings = found(labels(0, 30))
    assert [(s.segment_number, s.label_value) for s in findings.structures] == [(1, 2)]
    low, high = findings.measurements
    assert (low.is_present, low.segment_number, low.value) == (False, None, 0.0)
    assert (high.is_present, high.segment_number) == (True, 1)


def test_nothing_found_is_an_outcome_with_measurements() -> None:
    findings = found(labels(0, 0))
    assert findings.outcome is Outcome.NO_FINDINGS
    assert findings.structures == ()
    assert [m.is_present for m in findings.measurements] == [False, False]


def test_a_structure_below_its_smallest_volume_is_absent_everywhere() -> None:
    findings = found(labels(100, 30), low=0.2, high=0.07)
    assert [m.is_present for m in findings.measurements] == [True, False]
    assert findings.measurements[1].value == 0.0
    assert values_of(findings) == {0, 1}


def test_label_values_that_the_definition_does_not_name_are_dropped() -> None:
    assert values_of(found(labels(10, 10, other=10))) == {0, 1, 2}


def test_what_was_computed_is_not_changed_in_place() -> None:
    given_map = labels(10, 10, other=10)
    found(given_map)
    assert 5 in given_map


def test_segment_and_measurement_of_a_structure_share_their_tracking_uid() -> None:
    findings = found(labels(10, 10))
    assert [s.tracking_uid for s in findings.structures] == [
        m.tracking_uid for m in findings.measurements
    ]
    assert findings.structures[0].tracking_uid == tracking_uid("in", "pipe", 1)


@given(arrays(np.uint8, (4, 5, 6), elements=st.integers(0, 4)), st.floats(1e-6, 1.0))
def test_volumes_of_all_labels_add_up_to_the_volume_of_the_grid(
    label_map: NDArray[np.uint8], voxel_ml: float
) -> None:
    assert sum(volumes_ml(label_map, voxel_ml, range(5)).values()) == pytest.approx(120 * voxel_ml)


def test_a_label_value_beyond_the_map_has_no_volume() -> None:
    assert volumes_ml(labels(10, 0), VOXEL_ML, [1, 65535]) == {1: pytest.approx(0.02), 65535: 0.0}
