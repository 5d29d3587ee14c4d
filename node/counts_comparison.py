"""What a PACS counts, compared with what has come."""

from __future__ import annotations

from collections.abc import Mapping, Set
from enum import Enum

from node.find_counts import PacsCounts, SeriesCount

# Made from images, by people or programs: a PACS does not route them with the images, and
# results of our own are among them.
_DERIVED_MODALITIES = frozenset({"AU", "DOC", "KO", "PR", "REG", "RTSTRUCT", "RWV", "SEG", "SR"})


class Comparison(Enum):
    """What the PACS has, compared with what has come."""

    UNKNOWN = "unknown"
    EQUAL = "equal"
    MORE = "more"


def compare(
    counts: PacsCounts | None,
    received: Mapping[str, int],
    own_series: Set[str] = frozenset(),
    proven: Set[str] = frozenset(),
) -> Comparison:
    """Compare series by series; the study's own count only where no series has one.

    `received` and the keys of `counts.series` are by Series Instance UID. Series of our own
    results, and derived ones that we do not have, do not count as missing. A series of `proven`
    is known to be whole by better evidence, whatever the PACS counts of it.
    """
    if counts is None:
        return Comparison.UNKNOWN
    expected = {
        uid: series.instances
        for uid, series in counts.series.items()
        if uid in received or not (uid in own_series or _is_derived(series))
    }
    if not expected or not any(number is not None for number in expected.values()):
        return _compare_numbers(counts.instances, sum(received.values()))
    results = {
        _compare_numbers(number, received.get(uid, 0))
        for uid, number in expected.items()
        if uid not in proven
    } or {Comparison.EQUAL}
    if Comparison.MORE in results:
        return Comparison.MORE
    # A series that has come but that the PACS does not list: it is behind, and no witness.
    is_listed = set(received) - proven <= set(expected)
    return Comparison.EQUAL if is_listed and results == {Comparison.EQUAL} else Comparison.UNKNOWN


def _is_derived(series: SeriesCount) -> bool:
    return series.modality in _DERIVED_MODALITIES


def _compare_numbers(in_pacs: int | None, received: int) -> Comparison:
    if in_pacs is None or in_pacs < received:
        return Comparison.UNKNOWN
    return Comparison.EQUAL if in_pacs == received else Comparison.MORE
