"""Faulty selections and states of key images are not sent."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from pipelines.errors import ProofFailed
from pipelines.objects.proof_key_images import (
    prove_key_object_selection,
    prove_presentation_state,
)
from tests.unit.pipelines_objects.key_image_requests import made_key_images
from tests.unit.pipelines_objects.synthetic_series import (
    classic_series,
)


def _moved(state: Dataset) -> None:
    line = state.GraphicAnnotationSequence[0].GraphicObjectSequence[0]
    line.GraphicData = [value + 1 for value in line.GraphicData]


def _missing(state: Dataset) -> None:
    del state.GraphicAnnotationSequence[0]


def _on_another_image(state: Dataset) -> None:
    first, second = state.GraphicAnnotationSequence[0], state.GraphicAnnotationSequence[-2]
    first.ReferencedImageSequence, second.ReferencedImageSequence = (
        second.ReferencedImageSequence,
        first.ReferencedImageSequence,
    )


def _of_another_patient(state: Dataset) -> None:
    state.PatientID = "other"


def _fewer_images(state: Dataset) -> None:
    del state.ReferencedSeriesSequence[0].ReferencedImageSequence[0]


@pytest.mark.parametrize(
    "fault", [_moved, _missing, _on_another_image, _of_another_patient, _fewer_images]
)
def test_a_faulty_state_is_not_sent(tmp_path: Path, fault: Callable[[Dataset], None]) -> None:
    made = made_key_images(tmp_path, classic_series())
    _, path = made.written(tmp_path)
    state = dcmread(path)
    fault(state)
    state.save_as(path)
    with pytest.raises(ProofFailed, match=r"^PR "):
        prove_presentation_state(path, made.volume.source, made.slices, made.decoded)


def _rejecting(selection: Dataset) -> None:
    selection.ConceptNameCodeSequence[0].CodeValue = "113001"


def _one_less(selection: Dataset) -> None:
    del selection.ContentSequence[-1]


def _less_evidence(selection: Dataset) -> None:
    series = selection.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0]
    del series.ReferencedSOPSequence[0]


@pytest.mark.parametrize("fault", [_rejecting, _one_less, _less_evidence])
def test_a_faulty_selection_is_not_sent(tmp_path: Path, fault: Callable[[Dataset], None]) -> None:
    made = made_key_images(tmp_path, classic_series())
    path, _ = made.written(tmp_path)
    selection = dcmread(path)
    fault(selection)
    selection.save_as(path)
    with pytest.raises(ProofFailed, match=r"^KOS "):
        prove_key_object_selection(path, made.chosen)
