"""From what the passes say to qualified measurements and reasons for a review."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from pipelines.findings import Findings, find
from pipelines.review import qualified
from pipelines.uncertainty import Spread
from storage.records import VOLUME_HIGHEST, VOLUME_LOWEST
from tests.unit.pipelines.definitions import definition

SURE = Spread(mean_entropy=0.0, volume_ml=1.0, lowest_ml=1.0, highest_ml=1.0)


def judged(low: int, spread: Spread, **limits: float) -> Findings:
    labels = np.zeros((10, 10, 10), dtype=np.uint8)
    labels.ravel()[:low] = 1
    labels.ravel()[-50:] = 2
    how = {"method": "flips", "axes": ["head_foot"], "review_above": limits}
    wanted = definition(uncertainty=how)
    findings = find(wanted, labels, 0.01, input_digest="in", pipeline_digest="pipe")
    return qualified(findings, wanted, {1: spread, 2: SURE})


def test_the_interval_is_scaled_to_the_measured_volume() -> None:
    findings = judged(200, Spread(0.1, volume_ml=4.0, lowest_ml=3.0, highest_ml=5.0))
    values = {m.quantity: m.value for m in findings.measurements if m.structure == "Low"}
    assert values[VOLUME_LOWEST] == pytest.approx(1.5)
    assert values[VOLUME_HIGHEST] == pytest.approx(2.5)


def test_a_wide_interval_is_a_reason() -> None:
    spread = Spread(0.1, volume_ml=4.0, lowest_ml=3.0, highest_ml=5.0)
    assert judged(200, spread, volume_spread=0.6).review == ""
    told = "Low: volume 1.500 to 2.500 mL, spread 0.500 above 0.4"
    assert judged(200, spread, volume_spread=0.4).review == told


def test_a_structure_that_only_another_pass_finds_is_a_reason() -> None:
    spread = Spread(None, volume_ml=0.0, lowest_ml=0.0, highest_ml=0.7)
    findings = judged(0, spread, volume_spread=0.4)
    assert findings.review == "Low: not found, but 0.700 mL in another pass"
    assert [m.quantity for m in findings.measurements if m.structure == "Low"][1:] == []


def test_without_limits_nothing_calls_for_a_review() -> None:
    assert judged(200, Spread(1.0, 4.0, 0.0, 9.0)).review == ""


def test_without_the_key_findings_stay_as_they_are() -> None:
    wanted = definition()
    labels = np.ones((2, 2, 2), dtype=np.uint8)
    findings = find(wanted, labels, 0.01, input_digest="in", pipeline_digest="pipe")
    assert qualified(findings, wanted, {}) is findings


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"axes": ["left_right"]}, "cannot be flipped left_right"),
        ({"axes": ["head_foot", "head_foot"]}, "given twice"),
        ({"axes": []}, "at least 1"),
        ({"method": "guess", "axes": ["head_foot"]}, "guess"),
    ],
)
def test_what_cannot_be_meant_is_told(changes: dict[str, Any], told: str) -> None:
    how = {"method": "flips", **changes}
    with pytest.raises(ValidationError, match=told):
        definition(uncertainty=how, left_right=[{"left": 1, "right": 2}])
