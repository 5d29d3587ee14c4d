"""Keeping the ImagingStudy that we created true: newer images, newer results, withdrawn ones.

Only one that carries our own identifier is written to. What the EHR or its PACS made is theirs, and
so is ours once they have given it another status. Several jobs, and several nodes with one
identifier system, tell of one study: what others have listed stays, each takes out only its own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, Final

from config.settings import FhirContent
from fhir.codes import ImagingStudyStatus
from fhir.identifiers import dicom_uid, study_identifier
from fhir.json_reading import Json, child, objects, string
from fhir.renewal import as_update, guarded, names_another
from fhir.search import Hits, Searchable, carries, search_by_identifier
from fhir.withdrawal import update_entry
from storage.records import FinishedJob

_STUDY: Final = "ImagingStudy"
_KEPT_META: Final = ("profile", "security", "tag")
"""Of `meta`, what holds for every version; the rest is for the server to write."""


def imaging_studies(server: Searchable, finished: FinishedJob) -> Hits:
    """What the server has of a job's study, by its Study Instance UID."""
    uid = dicom_uid(finished.study.header.study_instance_uid)
    return search_by_identifier(server, _STUDY, str(uid.system), str(uid.value))


def is_own_study(found: Json, finished: FinishedJob, content: FhirContent) -> bool:
    """Whether we created an ImagingStudy, the site still wants that, and it stands as we left it.

    One that an earlier version made carries no identifier of ours: nobody can tell whose it is.
    """
    own = study_identifier(finished.study.header.study_instance_uid, content.identifier_system)
    is_available = found.get("status") == ImagingStudyStatus.AVAILABLE.value
    is_marked = carries(found, str(own.system), str(own.value))
    return content.imaging_study == "create" and is_available and is_marked


def with_renewed_study(entries: list[Json], known: Json | None) -> list[Json]:
    """The entries of a Bundle, their ImagingStudy made an update of the one that is `known`.

    Where that lists the same already the entry is left out: a repeat makes no new version.
    """
    if known is None:
        return entries
    told = (_renewed(each, known) if _is_study(each) else each for each in entries)
    return [each for each in told if each is not None]


def without_withdrawn_objects(
    server: Searchable, finished: FinishedJob, content: FhirContent
) -> Json | None:
    """Our ImagingStudy without the objects of a withdrawn result, as the entry of a Bundle.

    None where there is nothing to take out of it, or none of ours.
    """
    if content.imaging_study != "create" or not finished.objects:
        return None
    known = imaging_studies(server, finished).only
    if known is None or not is_own_study(known, finished, content):
        return None
    # The PACS may have got them under other UIDs since the study was told.
    withdrawn = finished.known_uids | {each.sop_instance_uid for each in finished.objects}
    study = _listing(known, _without(objects(known.get("series")), withdrawn))
    return None if _is_listed(study, known) else guarded(update_entry(study), known)


def _is_study(entry: Json) -> bool:
    return bool(entry["resource"]["resourceType"] == _STUDY)


def _renewed(entry: Json, known: Json) -> Json | None:
    wanted = entry["resource"]
    told = {**known, **wanted, "identifier": known["identifier"]}
    study = _listing(told, _merged(objects(known.get("series")), objects(wanted.get("series"))))
    if _is_listed(study, known):
        return None
    return guarded(as_update({**entry, "resource": study}, known), known)


def _listing(study: Json, series: list[Json]) -> Json:
    """The study with these series, and what follows from them; `meta` without the version."""
    meta = child(study, "meta")
    kept = {name: meta[name] for name in _KEPT_META if name in meta}
    derived = {
        "meta": kept,
        "modality": _distinct(child(each, "modality") for each in series),
        "numberOfSeries": len(series),
        "numberOfInstances": sum(map(_count, series)),
        "series": series,
    }
    # R4 JSON knows no empty arrays and objects.
    return {name: value for name, value in {**study, **derived}.items() if value not in ([], {})}


def _merged(known: list[Json], wanted: list[Json]) -> list[Json]:
    series = {string(each, "uid"): each for each in known}
    for each in wanted:
        uid = string(each, "uid")
        series[uid] = {**series.get(uid, {}), **each}
    return list(series.values())


def _without(series: list[Json], withdrawn: Collection[str]) -> list[Json]:
    left = (_left_of(each, withdrawn) for each in series)
    return [each for each in left if each is not None]


def _left_of(series: Json, withdrawn: Collection[str]) -> Json | None:
    """A series without the withdrawn objects; None where it held nothing else."""
    listed = objects(series.get("instance"))
    left = [each for each in listed if string(each, "uid") not in withdrawn]
    if len(left) == len(listed):
        return series
    # Servers may keep no count, or another one: less than what is listed cannot be true.
    count = max(_count(series) - (len(listed) - len(left)), len(left))
    return {**series, "numberOfInstances": count, "instance": left} if left else None


def _is_listed(study: Json, known: Json) -> bool:
    """Whether both list the same of one patient; how a server writes the rest is no difference."""
    return _contents(study) == _contents(known) and not names_another(known, study)


def _contents(study: Json) -> tuple[Any, ...]:
    series = {
        (string(each, "uid"), _count(each), _uids_of(each)) for each in objects(study.get("series"))
    }
    return study.get("numberOfSeries"), study.get("numberOfInstances"), series


def _uids_of(series: Json) -> frozenset[str]:
    return frozenset(string(each, "uid") for each in objects(series.get("instance")))


def _count(series: Json) -> int:
    count = series.get("numberOfInstances")
    return count if isinstance(count, int) else 0


def _distinct(codings: Iterable[Json]) -> list[Json]:
    by_code = {(string(each, "system"), string(each, "code")): each for each in codings}
    return [each for each in by_code.values() if each]
