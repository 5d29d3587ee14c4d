"""What the demo insists on; it fails when any of this did not happen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from node.demo.results import RESULT_KINDS, StudyResult
from node.demo.studies import FINDINGS
from storage.records import DeliveryState, JobState

SERIES = "HippoCrop"
LEAST_DICE = 0.70
LEAST_MEAN_DICE = 0.85
LARGEST_ML = 5.0
"""No part of a hippocampus is larger; a label map on the wrong grid is."""

_DELIVERED = {DeliveryState.SENT, DeliveryState.CONFIRMED}


@dataclass(frozen=True, slots=True)
class Repeat:
    """The first study, sent once more with its results: before and after, as the PACS saw it."""

    sent: int
    jobs: tuple[int, int]
    received: tuple[int, int]
    reports: tuple[int, int]
    generations: tuple[int, int]

    @property
    def added_nothing(self) -> bool:
        """No new job, result, report or generation came of it."""
        pairs = (self.jobs, self.received, self.reports, self.generations)
        return all(before == after for before, after in pairs)


def shortcomings(results: Sequence[StudyResult], repeat: Repeat) -> list[str]:
    """Return what did not happen as it should, each in a sentence; empty when all is well."""
    found = [f"{one.study.title}: {text}" for one in results for text in _of_study(one)]
    found += _of_means(results)
    if not repeat.added_nothing:
        found.append(f"the first study again added something: {repeat}")
    return found


def _of_study(result: StudyResult) -> Iterator[str]:
    if not result.view.is_settled:
        yield f"not done in time (stage {result.view.stage_count} of 4)"
    elif result.outcome != result.study.expected:
        text = result.view.job.reason_text if result.view.job else ""
        yield f"ended as {result.outcome}, not {result.study.expected}. {text}".strip()
    elif result.study.expected == FINDINGS:
        yield from _of_findings(result)
    else:
        yield from _of_refusal(result)


def _of_findings(result: StudyResult) -> Iterator[str]:
    if result.series_description != SERIES:
        yield f"analysed series {result.series_description!r}, not {SERIES!r}"
    for kind in RESULT_KINDS:
        if result.pacs.get(kind) != 1:
            yield f"the PACS holds {result.pacs.get(kind, 0)} {kind}, not 1"
    if len(result.ehr) != 1:
        yield f"the EHR holds {len(result.ehr)} reports, not 1"
    if any(one.state not in _DELIVERED for one in result.view.deliveries):
        yield "not every delivery succeeded"
    for structure, volume_ml in result.volumes_ml.items():
        if not 0 < volume_ml < LARGEST_ML:
            yield f"{structure} measures {volume_ml:.2f} mL"
    yield from _of_dices(result)


def _of_dices(result: StudyResult) -> Iterator[str]:
    if result.problem:
        yield result.problem
    if result.study.truth and set(result.dices) != set(result.volumes_ml):
        yield "a structure that is measured is not in the SEG"
    for structure, value in result.dices.items():
        if value < LEAST_DICE:
            yield f"Dice of {structure} is {value:.3f}, less than {LEAST_DICE}"


def _of_refusal(result: StudyResult) -> Iterator[str]:
    if result.view.job is None or result.view.job.state != JobState.REFUSED:
        yield "the job does not stand as refused"
    if any(result.pacs.values()) or result.ehr:
        yield "a refused study sent out results"


def mean_dices(results: Sequence[StudyResult]) -> dict[str, float]:
    """Return the mean Dice of each structure over the studies with a known truth."""
    structures = {name for one in results for name in one.dices}
    return {
        name: sum(values) / len(values)
        for name in sorted(structures)
        if (values := [one.dices[name] for one in results if name in one.dices])
    }


def _of_means(results: Sequence[StudyResult]) -> list[str]:
    return [
        f"mean Dice of {name} is {value:.3f}, less than {LEAST_MEAN_DICE}"
        for name, value in mean_dices(results).items()
        if value < LEAST_MEAN_DICE
    ]
