"""The only door of this package: one job's files in, findings and result objects out.

read -> load_model -> preprocess -> inference -> restore -> measure -> seg -> sr -> proof
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

import pipelines.first_imports  # noqa: F401 -- before all that imports torch
from config.settings import PipelineSettings
from pipelines.answer_passes import AnswerPasses, seed_of
from pipelines.bundle import LoadedBundle
from pipelines.class_cases import refuse_same_picture
from pipelines.class_run import class_findings
from pipelines.common_grid import on_one_grid
from pipelines.definition import load_definition
from pipelines.device import (
    chosen_device,
    forget_peak,
    peak_device_mib,
    peak_memory_mib,
    prepare_torch,
)
from pipelines.errors import Refused
from pipelines.findings import Findings, find
from pipelines.input_check import refuse_unlike
from pipelines.input_reading import read_input
from pipelines.kept_memory import kept_memory
from pipelines.labels import Labels
from pipelines.model_cache import loaded_model
from pipelines.objects.identity import Origin
from pipelines.objects.station import Station
from pipelines.objects.uids import result_uids
from pipelines.one_study import refuse_several_studies
from pipelines.pages import NOTHING_MORE, Wanted
from pipelines.precision_choice import agreed_precision
from pipelines.preprocessing import preprocessed
from pipelines.reading_policy import ReadingPolicy
from pipelines.registry import SHIPPED_BUNDLES, RegisteredPipeline, load_registry, register
from pipelines.results import ResultWriter
from pipelines.review import qualified
from pipelines.segmenting import Effort, segmented
from pipelines.selection import NoMatch, select_inputs
from pipelines.series_volume import SeriesVolume
from pipelines.smaller_means import with_smaller_means
from pipelines.stages import StageTimes
from pipelines.study_folder import files_digest, series_of_folder
from pipelines.tilt import leaning_again
from pipelines.uncertainty import Spreads, UncertaintyWatch, measured_uncertainty
from storage.records import JobResult

if TYPE_CHECKING:
    import torch

log = structlog.get_logger()


_NO_NODE = Station("radnode", "RADNODE", "", "unknown")


@dataclass(frozen=True, slots=True)
class RunRequest:
    """One job. `inputs` gives absolute file paths by role, in any order.

    Results are written under `out_dir`, which lies in `data_dir`; result paths are relative to
    `data_dir`. `device` is `auto`, `cpu`, `cuda` or `cuda:N`; `cpu_threads` 0 leaves torch's
    own choice. `wanted` says what is written beside SEG and SR. `content_time` is the start of
    the analysis in the site's time zone (aware).
    """

    registered: RegisteredPipeline
    inputs: Mapping[str, tuple[Path, ...]]
    input_digest: str
    data_dir: Path
    out_dir: Path
    device: str
    station: Station
    content_time: datetime
    cpu_threads: int = 0
    wanted: Wanted = NOTHING_MORE

    def __post_init__(self) -> None:
        definition = self.registered.definition
        roles, given = set(definition.inputs), set(self.inputs)
        may_lack = definition.missing_views == "leave_out" and bool(given)
        if given != roles and not (may_lack and given < roles):
            raise ValueError(
                f"inputs are {sorted(self.inputs)}, the pipeline takes {sorted(roles)}"
            )
        if not self.out_dir.is_relative_to(self.data_dir):
            raise ValueError("out_dir does not lie in data_dir")


def run_pipeline(request: RunRequest) -> JobResult:
    """Run one job; the same request gives the same files, byte for byte.

    Raises `Refused`, `InvalidBundle`, `InferenceFailed` or `ProofFailed`; nothing that was
    written may leave then.
    """
    times = StageTimes()
    prepare_torch(request.cpu_threads)
    device = chosen_device(request.device)
    forget_peak(device)
    with times.stage("read"):
        volumes = _read_inputs(request)
    source = next(iter(volumes.values()))
    judged = _judged_whole if request.registered.definition.classes else _findings

    def run(used: torch.device, window_batch: int | None) -> tuple[Findings, str]:
        registered, told = agreed_precision(request.registered, used)
        asked = replace(request, registered=registered)
        return judged(asked, volumes, times, used, window_batch), told

    (findings, precision_told), device_told = with_smaller_means(device, run)
    objects = _writer(request, volumes, times).write(findings)
    log.info(
        "pipeline_ran",
        outcome=findings.outcome,
        shape=source.voxels.shape,
        peak_device_mib=peak_device_mib(device),
    )
    return JobResult(
        outcome=findings.outcome,
        objects=objects,
        measurements=findings.measurements,
        device=device_told + precision_told,
        peak_memory_mib=peak_memory_mib(),
        stage_times_s=dict(times.seconds),
        review=findings.review,
    )


def _read_inputs(request: RunRequest) -> dict[str, SeriesVolume]:
    volumes = {}
    for role, criteria in request.registered.definition.inputs.items():
        if role not in request.inputs:
            continue
        volumes[role] = volume = read_input(request.inputs[role], ReadingPolicy.of(criteria))
        if criteria.input_statistics is not None:
            refuse_unlike(criteria.input_statistics, volume.voxels, volume.spacing_mm, role)
    refuse_several_studies(header for each in volumes.values() for header in each.source.headers)
    refuse_same_picture(volumes)
    return volumes


def _judged_whole(
    request: RunRequest,
    volumes: Mapping[str, SeriesVolume],
    times: StageTimes,
    device: torch.device,
    window_batch: int | None,
) -> Findings:
    del window_batch  # windows of a classifier go one by one
    return class_findings(request.registered, request.input_digest, volumes, times, device)


def _findings(
    request: RunRequest,
    volumes: Mapping[str, SeriesVolume],
    times: StageTimes,
    device: torch.device,
    window_batch: int | None,
) -> Findings:
    label_map, spreads = _label_map(request, volumes, times, device, window_batch)
    with times.stage("measure"):
        found = _find(request, label_map, next(iter(volumes.values())))
        return qualified(found, request.registered.definition, spreads)


def _label_map(
    request: RunRequest,
    volumes: Mapping[str, SeriesVolume],
    times: StageTimes,
    device: torch.device,
    window_batch: int | None,
) -> tuple[Labels, Spreads]:
    definition = request.registered.definition
    with times.stage("load_model"):
        bundle = loaded_model(request.registered, device)
    with times.stage("preprocess"):
        upright = on_one_grid(volumes)
        data = preprocessed(upright, bundle, request.registered.channel_roles)
    effort = Effort(definition.precision, window_batch)
    with kept_memory():  # not before: what preprocessing frees would lie about beside the windows
        labels, spreads = _labels_and_spreads(request, data, bundle, upright, times, effort)
    with times.stage("restore"):
        return leaning_again(labels, next(iter(volumes.values()))), spreads


def _labels_and_spreads(
    request: RunRequest,
    data: dict[str, Any],
    bundle: LoadedBundle,
    upright: Mapping[str, SeriesVolume],
    times: StageTimes,
    effort: Effort,
) -> tuple[Labels, Spreads]:
    definition, main = request.registered.definition, next(iter(upright.values()))
    if definition.uncertainty is None:
        return segmented(data, bundle, main, times, effort), {}
    watch = UncertaintyWatch(definition, bundle)
    labels = segmented(data, bundle, main, times, replace(effort, watched=watch.own))
    seed = seed_of(request.input_digest)
    passes = AnswerPasses(data, bundle, effort.precision, effort.window_batch, seed)
    with times.stage("uncertainty"):
        return labels, measured_uncertainty(watch, passes, definition)


def _find(request: RunRequest, label_map: Labels, source: SeriesVolume) -> Findings:
    return find(
        request.registered.definition,
        label_map,
        source.geometry.voxel_volume_ml,
        input_digest=request.input_digest,
        pipeline_digest=request.registered.pipeline_digest,
    )


def _writer(
    request: RunRequest, volumes: Mapping[str, SeriesVolume], times: StageTimes
) -> ResultWriter:
    registered = request.registered
    return ResultWriter(
        definition=registered.definition,
        volumes=volumes,
        uids=result_uids(request.input_digest, registered.pipeline_digest),
        origin=Origin(registered.algorithm, request.station, request.content_time),
        data_dir=request.data_dir,
        out_dir=request.out_dir,
        times=times,
        wanted=request.wanted,
    )


def run_study(
    pipeline: str | Path | RegisteredPipeline,
    dicom_dir: Path,
    out_dir: Path,
    *,
    device: str = "auto",
    content_time: datetime | None = None,
    bundles_dir: Path = SHIPPED_BUNDLES,
    wanted: Wanted = NOTHING_MORE,
    station: Station = _NO_NODE,
) -> JobResult:
    """Choose series below `dicom_dir`, run, and write SEG and SR into `out_dir`.

    `pipeline` is the name of a shipped pipeline, the path of a definition file, whose model lies
    in `bundles_dir`, or a registered pipeline. A bundle can run code: who names one here vouches
    for it, as `radnode model accept` does on a node. Raises what `run_pipeline` raises,
    `Refused` (no_pipeline_matches) when no series fits, and `InvalidDefinition`.
    """
    registered = _registered(pipeline, bundles_dir)
    series = series_of_folder(dicom_dir)
    selection = select_inputs(registered.definition, [item.candidate for item in series])
    if isinstance(selection, NoMatch):
        raise Refused(selection.code, " | ".join(selection.reasons))
    paths = {id(item.candidate): item.paths for item in series}
    inputs = {role: paths[id(chosen.candidate)] for role, chosen in selection.inputs.items()}
    out_dir.mkdir(parents=True, exist_ok=True)
    return run_pipeline(
        RunRequest(
            registered=registered,
            inputs=inputs,
            input_digest=files_digest(path for role in sorted(inputs) for path in inputs[role]),
            data_dir=out_dir,
            out_dir=out_dir,
            device=device,
            station=station,
            content_time=content_time or datetime.now(UTC),
            wanted=wanted,
        )
    )


def _registered(pipeline: str | Path | RegisteredPipeline, bundles_dir: Path) -> RegisteredPipeline:
    if isinstance(pipeline, RegisteredPipeline):
        return pipeline
    if isinstance(pipeline, Path):
        return register(load_definition(pipeline), bundles_dir)
    return load_registry(PipelineSettings(enabled=(pipeline,)))[pipeline]
