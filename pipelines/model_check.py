"""One look at a model before it is accepted: what it says, whether it runs, left and right."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from time import perf_counter

import torch

from pipelines.agreement import EXACT, Agreement
from pipelines.bundle import LoadedBundle
from pipelines.class_cases import class_cases, refuse_same_picture
from pipelines.class_run import judge_of
from pipelines.common_grid import on_one_grid
from pipelines.definition_schema import Precision
from pipelines.device import chosen_device, device_kind, forget_peak, peak_memory_mib
from pipelines.errors import PipelineError, Refused
from pipelines.explaining import told_explanation
from pipelines.input_reading import read_input
from pipelines.labels import slice_counts
from pipelines.left_right import LeftRightResult, Verdict, left_right_test
from pipelines.model_loading import load_model
from pipelines.model_memory import MemoryEstimate, memory_estimate
from pipelines.precision_check import agreements, labels_in
from pipelines.preprocessing import preprocessed
from pipelines.reading_policy import ReadingPolicy
from pipelines.registry import RegisteredPipeline
from pipelines.selection import NoMatch, select_inputs
from pipelines.series_volume import SeriesVolume
from pipelines.study_folder import series_of_folder

TYPICAL_SHAPE = (120, 400, 400)
"""A source of middling size, for the estimate when there is no case."""


@dataclass(frozen=True, slots=True)
class CheckedModel:
    """What loading, and a case if there was one, have shown.

    `failure` says why it does not run, '' when it does. `voxels` counts each label's on the case.
    `explanation` says which layer a classifier's heat maps look at. `agreements` holds, by reduced
    precision, how far it agreed with float32, 0 to 1, on a device of the kind `device_kind`.
    """

    failure: str
    spacing_mm: tuple[float, ...]
    memory: MemoryEstimate | None
    left_right: LeftRightResult
    network_shape: tuple[int, ...] = ()
    seconds: float | None = None
    peak_mib: float | None = None
    voxels: Mapping[str, int] | None = None
    explanation: str = ""
    agreements: Mapping[str, Agreement] = field(default_factory=dict)
    device_kind: str = ""


NOT_RUN = LeftRightResult(Verdict.NOT_RUN, "no case was given", {})
CLASSES_HAVE_NO_SIDE = LeftRightResult(
    Verdict.NOT_MEANINGFUL, "it judges the whole image; nothing of that lies left or right", {}
)
BROKE_OFF = LeftRightResult(Verdict.NOT_RUN, "it did not run on the case", {})


def checked_model(
    registered: RegisteredPipeline,
    dicom_dir: Path | None,
    device: str,
    precisions: Collection[Precision] = (),
) -> CheckedModel:
    """Load the model and try it on a case (a folder of one study). Loading runs its code.

    It is tried in float32, and compared with that in each of the reduced `precisions`.
    """
    try:
        bundle = load_model(registered, chosen_device(device))
    except PipelineError as error:
        return CheckedModel(str(error), (), None, NOT_RUN)
    spacing = network_spacing_mm(bundle)
    estimate = memory_estimate(bundle, prod(TYPICAL_SHAPE))
    if dicom_dir is None:
        return CheckedModel("", spacing, estimate, NOT_RUN)
    try:
        volumes = case_volumes(registered, dicom_dir)
        checked = _tried(registered, bundle, volumes, spacing)
        found = agreements(registered, bundle, volumes, precisions)
        return replace(checked, agreements=found, device_kind=device_kind(bundle.device))
    except PipelineError as error:
        return CheckedModel(str(error), spacing, estimate, BROKE_OFF)


def _tried(
    registered: RegisteredPipeline,
    bundle: LoadedBundle,
    volumes: Mapping[str, SeriesVolume],
    spacing: tuple[float, ...],
) -> CheckedModel:
    forget_peak(bundle.device)
    started = perf_counter()
    if registered.definition.classes:
        return _tried_whole(registered, bundle, volumes, spacing)
    data = preprocessed(volumes, bundle, registered.channel_roles)
    shape = tuple(data[bundle.metadata.input_key].shape)
    labels = labels_in(EXACT, registered, bundle, volumes)
    seconds = perf_counter() - started
    names = {item.label_value: item.label for item in registered.definition.segments}
    counts = slice_counts(labels, names)
    return CheckedModel(
        failure="",
        spacing_mm=spacing,
        memory=memory_estimate(bundle, prod(shape[1:])),
        left_right=left_right_test(
            volumes, names, lambda some: labels_in(EXACT, registered, bundle, some)
        ),
        network_shape=shape,
        seconds=seconds,
        peak_mib=peak_memory_mib(),
        voxels={names[value]: int(found.sum()) for value, found in counts.items()},
    )


def _tried_whole(
    registered: RegisteredPipeline,
    bundle: LoadedBundle,
    volumes: Mapping[str, SeriesVolume],
    spacing: tuple[float, ...],
) -> CheckedModel:
    started = perf_counter()
    judge = replace(judge_of(registered.definition, bundle), precision=EXACT)
    cases = class_cases(registered.definition, volumes, bundle, registered.channel_roles)
    for case in cases:
        judge.of(case.data)
    shape = tuple(cases[0].data[bundle.metadata.input_key].shape)
    explanation = told_explanation(registered.definition, cases[0], judge)
    return CheckedModel(
        failure="",
        spacing_mm=spacing,
        memory=memory_estimate(bundle, prod(shape[1:])),
        left_right=CLASSES_HAVE_NO_SIDE,
        network_shape=shape,
        seconds=perf_counter() - started,
        peak_mib=peak_memory_mib(),
        explanation=explanation,
    )


def case_volumes(registered: RegisteredPipeline, dicom_dir: Path) -> dict[str, SeriesVolume]:
    """The volumes of a folder by role, chosen as the definition says. Raises `Refused`."""
    series = series_of_folder(dicom_dir)
    selection = select_inputs(registered.definition, [item.candidate for item in series])
    if isinstance(selection, NoMatch):
        raise Refused(selection.code, " | ".join(selection.reasons))
    paths = {id(item.candidate): item.paths for item in series}
    volumes = {
        role: read_input(
            paths[id(chosen.candidate)], ReadingPolicy.of(registered.definition.inputs[role])
        )
        for role, chosen in selection.inputs.items()
    }
    refuse_same_picture(volumes)
    return volumes if registered.definition.several_projections else on_one_grid(volumes)


def network_spacing_mm(bundle: LoadedBundle) -> tuple[float, ...]:
    """The voxel size that the preprocessing makes; () where it leaves the image's own."""
    transforms = getattr(bundle.preprocessing, "transforms", ())
    for transform in transforms:
        spacing = getattr(transform, "spacing_transform", None)
        if spacing is not None:
            return tuple(float(edge) for edge in torch.as_tensor(spacing.pixdim).tolist())
    return ()
