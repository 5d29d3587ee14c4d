"""Runs a classifier: from images to what is found of each class, how sure, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from pipelines.answer_passes import seed_of
from pipelines.bundle import LoadedBundle
from pipelines.class_findings import calibrated, find_classes
from pipelines.class_passes import ClassPasses, Probabilities, class_spread
from pipelines.class_review import Spreads, review_of, with_spreads
from pipelines.classifying import Judge
from pipelines.common_grid import on_one_grid
from pipelines.definition_schema import PipelineDefinition
from pipelines.explaining import explained
from pipelines.findings import Findings
from pipelines.model_cache import loaded_model
from pipelines.preprocessing import preprocessed
from pipelines.registry import RegisteredPipeline
from pipelines.series_volume import SeriesVolume
from pipelines.stages import StageTimes
from storage.quantities import CERTAINTY
from storage.records import MeasurementRecord

if TYPE_CHECKING:
    import torch


def class_findings(
    registered: RegisteredPipeline,
    input_digest: str,
    volumes: Mapping[str, SeriesVolume],
    times: StageTimes,
    device: torch.device,
) -> Findings:
    """What the classifier says of `volumes`, by role. Raises what `run_pipeline` raises."""
    definition = registered.definition
    with times.stage("load_model"):
        bundle = loaded_model(registered, device)
        judge = judge_of(definition, bundle)
    with times.stage("preprocess"):
        upright = on_one_grid(volumes)
        data = preprocessed(upright, bundle, registered.channel_roles)
    passes = ClassPasses(data, judge, seed_of(input_digest))
    with times.stage("inference"):
        probabilities = passes.own()
    source, main = next(iter(volumes.values())), next(iter(upright.values()))
    with times.stage("measure"):
        found = find_classes(
            definition,
            probabilities,
            source.voxels.shape,
            input_digest=input_digest,
            pipeline_digest=registered.pipeline_digest,
        )
    if definition.uncertainty is not None:
        with times.stage("uncertainty"):
            further = list(passes.of(definition.uncertainty))
            found = _qualified(found, definition, np.stack([probabilities, *further]))
    with times.stage("explanation"):
        return explained(found, definition, data, judge, (source, main))


def judge_of(definition: PipelineDefinition, bundle: LoadedBundle) -> Judge:
    """The classifier as its definition wants it run. Raises `InvalidBundle`."""
    return Judge(bundle, definition.precision, definition.temperature, definition.windows)


def _qualified(
    findings: Findings, definition: PipelineDefinition, probabilities: Probabilities
) -> Findings:
    """The findings with what all passes [pass, output] say of each class."""
    if definition.uncertainty is None:
        return findings
    spreads = _spreads(findings.measurements, definition, probabilities)
    return replace(
        findings,
        measurements=with_spreads(findings.measurements, spreads),
        review=review_of(findings.measurements, spreads, definition.uncertainty.review_above),
    )


def _spreads(
    measurements: tuple[MeasurementRecord, ...],
    definition: PipelineDefinition,
    probabilities: Probabilities,
) -> Spreads:
    by_output = {one.output: one.calibration for one in definition.classes}
    return {
        one.tracking_uid: class_spread(
            np.asarray(
                [
                    calibrated(float(each), by_output[one.label_value])
                    for each in probabilities[:, one.label_value]
                ]
            )
        )
        for one in measurements
        if one.quantity == CERTAINTY
    }
