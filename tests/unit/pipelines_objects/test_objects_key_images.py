"""Key Object Selection and presentation state: what they show, of which images, and how."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.dataset import Dataset

import pipelines.objects.outlines
from pipelines.objects.grey_scale import GreyWindow, NotGrey, Rescale, grey_scale
from pipelines.objects.image_references import ChosenSlices
from pipelines.objects.presentation_state import layer_name
from pipelines.objects.proof_key_images import (
    prove_key_object_selection,
    prove_presentation_state,
)
from pipelines.objects.revision import Revision, prove_revision, revised
from pipelines.objects.write import encoded_object
from tests.unit.pipelines_objects.key_image_requests import MadeKeyImages, made_key_images
from tests.unit.pipelines_objects.result_requests import STRUCTURES
from tests.unit.pipelines_objects.synthetic_series import (
    SERIES,
    classic_series,
    enhanced_series,
)

Edit = Callable[[Dataset, int], None]


def references(node: Dataset) -> list[tuple[str, Any]]:
    items = node.get("ReferencedImageSequence") or node.get("ReferencedSOPSequence")
    return [(i.ReferencedSOPInstanceUID, i.get("ReferencedFrameNumber")) for i in items]


def with_header(folder: Path, edit: Edit) -> MadeKeyImages:
    return made_key_images(folder, classic_series(edit=edit))


def stating(**attributes: Any) -> Edit:
    def edit(header: Dataset, index: int) -> None:
        for keyword, value in attributes.items():
            setattr(header, keyword, value)

    return edit


def test_the_selection_names_the_images_that_show_the_structures(tmp_path: Path) -> None:
    made = made_key_images(tmp_path, classic_series())
    selection = made.selection()
    (text,) = (
        item
        for item in selection.ContentSequence
        if item.ValueType == "TEXT" and item.ConceptNameCodeSequence[0].CodeValue == "113012"
    )
    images = [item for item in selection.ContentSequence if item.ValueType == "IMAGE"]
    assert selection.ConceptNameCodeSequence[0].CodeMeaning == "Of Interest"
    assert text.TextValue == (
        "AI result, not reviewed by a physician: images with what hippocampus-net 1.2.0 found. "
        "Anterior hippocampus, Posterior hippocampus."
    )
    named = [one for item in images for one in references(item)]
    assert named == [(f"{SERIES}.{index + 1}", None) for index in made.slices]


def test_frames_of_an_enhanced_image_are_named(tmp_path: Path) -> None:
    made = made_key_images(tmp_path, enhanced_series())
    frames = sorted(made.volume.frame_numbers[index] for index in made.slices)
    (item,) = (item for item in made.selection().ContentSequence if item.ValueType == "IMAGE")
    assert references(item) == [(f"{SERIES}.1", frames)]
    state = made.state()
    assert references(state.ReferencedSeriesSequence[0]) == [(f"{SERIES}.1", frames)]
    drawn = {references(one)[0][1] for one in state.GraphicAnnotationSequence[:-1]}
    assert drawn == set(frames)


def test_a_structure_on_one_slice_of_many_is_among_the_key_images(tmp_path: Path) -> None:
    labels = np.zeros((60, 8, 8), dtype=np.uint8)
    labels[:, 2:6, 2:6] = 1
    labels[37, 0, 0:3] = 2
    labels[38, 0, 0] = 2
    made = made_key_images(tmp_path, classic_series(labels.shape), labels)
    assert len(made.slices) == 9
    assert 37 in made.slices


def test_each_structure_has_a_layer_with_its_name_and_colour(tmp_path: Path) -> None:
    made = made_key_images(tmp_path, classic_series())
    state, segments = made.state(), made.decoded.dataset.SegmentSequence
    layers = {layer.GraphicLayer: layer for layer in state.GraphicLayerSequence}
    assert list(layers) == ["S1_ANTERIOR_HIPP", "S2_POSTERIOR_HIP", "AI_NOTE"]
    for layer, segment in zip(layers.values(), segments, strict=False):
        assert layer.GraphicLayerDescription == segment.SegmentLabel
        colour = layer.GraphicLayerRecommendedDisplayCIELabValue
        assert colour == segment.RecommendedDisplayCIELabValue
    tracked = {
        (one.GraphicLayer, str(line.TrackingUID))
        for one in state.GraphicAnnotationSequence
        for line in one.get("GraphicObjectSequence") or []
    }
    assert tracked == {
        (name, structure.tracking_uid) for name, structure in zip(layers, STRUCTURES, strict=False)
    }


def test_every_key_image_says_that_nobody_reviewed_it(tmp_path: Path) -> None:
    made = made_key_images(tmp_path, classic_series())
    note = made.state().GraphicAnnotationSequence[-1]
    assert len(references(note)) == len(made.slices)
    text = note.TextObjectSequence[0].UnformattedTextValue
    assert text == "AI, not reviewed: hippocampus-net 1.2.0"


@given(st.integers(1, 999), st.text(max_size=70))
@settings(max_examples=100, deadline=None)
def test_a_layer_s_name_is_a_code_string_of_its_own(number: int, label: str) -> None:
    name = layer_name(number, label)
    assert re.fullmatch(r"[A-Z0-9_]{1,16}", name)
    assert re.match(rf"S{number}(_|$)", name)


def test_the_same_result_gives_the_same_bytes(tmp_path: Path) -> None:
    once = made_key_images(tmp_path / "a", classic_series())
    twice = made_key_images(tmp_path / "b", classic_series())
    assert encoded_object(once.selection()) == encoded_object(twice.selection())
    assert encoded_object(once.state()) == encoded_object(twice.state())
    state = once.state()
    assert state.PresentationCreationDate == "20240701"
    assert state.PresentationCreationTime == once.selection().ContentTime


def test_the_image_s_own_window_and_rescale_are_taken(tmp_path: Path) -> None:
    stated = stating(
        WindowCenter=[300, 10],
        WindowWidth=[400, 20],
        RescaleSlope=2,
        RescaleIntercept=-5,
        RescaleType="US",
    )
    state = with_header(tmp_path, stated).state()
    (window,) = state.SoftcopyVOILUTSequence
    assert (window.WindowCenter, window.WindowWidth) == (300, 400)
    assert "ReferencedImageSequence" not in window
    assert (state.RescaleSlope, state.RescaleIntercept, state.RescaleType) == (2, -5, "US")
    assert state.PresentationLUTShape == "IDENTITY"


def test_rescales_of_their_own_become_windows_of_their_own(tmp_path: Path) -> None:
    def edit(header: Dataset, index: int) -> None:
        header.RescaleSlope, header.RescaleIntercept = 1 + index, 10 * index
        header.WindowCenter, header.WindowWidth = 300, 401

    made = with_header(tmp_path, edit)
    state = made.state()
    assert "RescaleSlope" not in state
    windows = state.SoftcopyVOILUTSequence
    assert len(windows) == len(made.slices)
    for index, window in zip(made.slices, windows, strict=True):
        assert references(window) == [(f"{SERIES}.{index + 1}", None)]
        assert window.WindowWidth == pytest.approx(400 / (1 + index) + 1)


@given(
    st.floats(-1000, 1000),
    st.floats(1.5, 3000),
    st.floats(0.01, 50),
    st.floats(-2000, 2000),
    st.sampled_from(["LINEAR", "LINEAR_EXACT", "SIGMOID"]),
    st.integers(-500, 4000),
)
@settings(max_examples=200, deadline=None)
def test_a_window_before_the_rescale_shows_the_same(
    centre: float, width: float, slope: float, intercept: float, function: str, stored: int
) -> None:
    def shown(value: float, window: GreyWindow) -> float:
        if window.function == "LINEAR":
            return (value - (window.centre - 0.5)) / (window.width - 1) + 0.5
        return (value - window.centre) / window.width

    after = GreyWindow(centre, width, function)
    before = after.before(Rescale(slope, intercept))
    expected = shown(slope * stored + intercept, after)
    assert shown(stored, before) == pytest.approx(expected, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize(
    "broken",
    [
        {},
        {"WindowCenter": 300},
        {"WindowCenter": 300, "WindowWidth": 0},
        {"WindowCenter": 300, "WindowWidth": 50, "VOILUTFunction": "OTHER"},
        {"WindowCenter": 30000, "WindowWidth": 60000},
    ],
    ids=["none", "no width", "no extent", "unknown function", "far too wide"],
)
def test_without_a_window_that_shows_anything_the_values_decide(
    tmp_path: Path, broken: dict[str, Any]
) -> None:
    made = with_header(tmp_path, stating(**broken))
    (window,) = made.state().SoftcopyVOILUTSequence
    shown = made.volume.voxels[list(made.slices)]
    assert shown.min() < window.WindowCenter < shown.max()
    assert 0.5 * np.ptp(shown) < window.WindowWidth <= np.ptp(shown)


def test_a_ct_without_a_window_has_one_of_soft_tissue(tmp_path: Path) -> None:
    made = with_header(tmp_path, stating(Modality="CT", RescaleSlope=1, RescaleIntercept=-1024))
    state = made.state()
    (window,) = state.SoftcopyVOILUTSequence
    assert (window.WindowCenter, window.WindowWidth, state.RescaleType) == (40, 400, "HU")


def test_white_is_where_low_values_are_white(tmp_path: Path) -> None:
    made = with_header(tmp_path, stating(PhotometricInterpretation="MONOCHROME1"))
    state = made.state()
    (window,) = state.SoftcopyVOILUTSequence
    assert state.PresentationLUTShape == "INVERSE"
    stored = 4095 - made.volume.voxels[list(made.slices)]
    assert stored.min() < window.WindowCenter < stored.max()


@pytest.mark.parametrize(
    ("edit", "why"),
    [
        (stating(PhotometricInterpretation="RGB"), "MONOCHROME"),
        (stating(ModalityLUTSequence=[Dataset()]), "Modality LUT"),
    ],
    ids=["colour", "table"],
)
def test_images_without_a_grey_scale_of_a_line_have_no_state(
    tmp_path: Path, edit: Edit, why: str
) -> None:
    made = made_key_images(tmp_path, classic_series())
    for index, header in enumerate(made.volume.headers):
        edit(header, index)
    with pytest.raises(NotGrey, match=why):
        grey_scale(made.volume, made.slices)


@pytest.mark.parametrize("source", [classic_series(), enhanced_series()], ids=["classic", "frames"])
def test_what_was_written_is_proved(tmp_path: Path, source: Any) -> None:
    made = made_key_images(tmp_path, source)
    selection, state = made.written(tmp_path)
    prove_key_object_selection(selection, (ChosenSlices(source, made.slices),))
    prove_presentation_state(state, source, made.slices, made.decoded)


def test_an_outline_longer_than_graphic_data_is_drawn_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipelines.objects.outlines, "MOST_POINTS", 5)
    made = made_key_images(tmp_path, classic_series())
    _, path = made.written(tmp_path)
    drawn = dcmread(path).GraphicAnnotationSequence
    lines = [line for one in drawn for line in one.get("GraphicObjectSequence") or []]
    assert len(lines) > len(drawn)
    assert max(line.NumberOfGraphicPoints for line in lines) == 5
    prove_presentation_state(path, made.volume.source, made.slices, made.decoded)


def test_under_another_identity_they_show_the_same(tmp_path: Path) -> None:
    made = made_key_images(tmp_path, classic_series())
    kept = [dcmread(path) for path in made.written(tmp_path)]
    revision = Revision(attributes=(("AccessionNumber", "A-2"), ("PatientID", "PID-8")))
    for before, after in zip(kept, revised(kept, revision), strict=True):
        prove_revision(before, after, revision)
        assert before.SOPInstanceUID != after.SOPInstanceUID
        assert (after.PatientID, after.AccessionNumber) == ("PID-8", "A-2")
        shown = [references(item) for item in _holders(before)]
        assert shown == [references(item) for item in _holders(after)] != []


def _holders(dataset: Dataset) -> list[Dataset]:
    """What refers to images: content items, or the series of a presentation state."""
    items = [*dataset.get("ContentSequence", []), *dataset.get("ReferencedSeriesSequence", [])]
    return [
        item for item in items if "ReferencedSOPSequence" in item or "SeriesInstanceUID" in item
    ]
