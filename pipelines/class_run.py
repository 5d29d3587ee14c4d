"""Runs a classifier: from images to what is found of each class, how sure, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from pipelines.answer_passes import seed_of
from pipelines.bundle import LoadedBundle
from pipelines.class_cases import ClassCase, class_cases
from pipelines.class_findings import calibrated, find_classes
from pipelines.class_groups import ClassGroup, combined_groups
from pipelines.class_passes import ClassPasses, Probabilities, class_spread
from pipelines.class_review import Spreads, review_of, with_spreads
from pipelines.classifying import Judge
from pipelines.definition_schema import PipelineDefinition
from pipelines.explaining import explained
from pipelines.findings import Findings
from pipelines.model_cache import loaded_model
from pipelines.objects.uids import tracking_uid
from pipelines.registry import RegisteredPipeline
from pipelines.series_volume import SeriesVolume
from pipelines.stages import StageTimes

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
        cases = class_cases(definition, volumes, bundle, registered.channel_roles)
    passes = [ClassPasses(case.data, judge, seed_of(input_digest)) for case in cases]
    with times.stage("inference"):
        own = [one.own()[np.newaxis] for one in passes]
    groups = _groups(definition, cases, own)
    with times.stage("measure"):
        found = find_classes(
            definition,
            groups,
            next(iter(volumes.values())).voxels.shape,
            input_digest=input_digest,
            pipeline_digest=registered.pipeline_digest,
        )
    if definition.uncertainty is not None:
        with times.stage("uncertainty"):
            all_passes = [
                np.concatenate([first, *(p[np.newaxis] for p in one.of(definition.uncertainty))])
                for first, one in zip(own, passes, strict=True)
            ]
            spreads = _spreads(
                definition,
                _groups(definition, cases, all_passes),
                (input_digest, registered.pipeline_digest),
            )
            found = _qualified(found, definition, spreads)
    with times.stage("explanation"):
        return explained(found, definition, cases, judge)


def judge_of(definition: PipelineDefinition, bundle: LoadedBundle) -> Judge:
    """The classifier as its definition wants it run. Raises `InvalidBundle`."""
    return Judge(bundle, definition.precision, definition.temperature, definition.windows)


def _groups(
    definition: PipelineDefinition, cases: Sequence[ClassCase], found: Sequence[Probabilities]
) -> tuple[ClassGroup, ...]:
    """What is told of the answers [pass, output] to each case."""
    if definition.several_projections == "per_view":
        roles = [case.pictures[0].role for case in cases]
        return combined_groups(definition.inputs, dict(zip(roles, found, strict=True)))
    (case,), (probabilities,) = cases, found
    return (ClassGroup("", tuple(one.role for one in case.pictures), probabilities),)


def _qualified(findings: Findings, definition: PipelineDefinition, spreads: Spreads) -> Findings:
    """The findings with what all passes say of each class."""
    if definition.uncertainty is None:
        return findings
    return replace(
        findings,
        measurements=with_spreads(findings.measurements, spreads),
        review=review_of(findings.measurements, spreads, definition.uncertainty.review_above),
    )


def _spreads(
    definition: PipelineDefinition, groups: Sequence[ClassGroup], digests: tuple[str, str]
) -> Spreads:
    return {
        tracking_uid(*digests, one.output, group.name): class_spread(
            np.asarray(
                [
                    calibrated(float(each), one.calibration)
                    for each in group.probabilities[:, one.output]
                ]
            )
        )
        for one in definition.classes
        for group in groups
    }
