"""C-FIND SCU: how many instances of a study does the PACS have (PS3.4 C, Study Root)?

Number of Study Related Instances (0020,1208) and Number of Series Related Instances (0020,1209)
are optional return keys. A PACS that leaves them out, or does not know the study, gives no
evidence; that is an answer, too, and not an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, build_context, evt

from config.settings import SenderSettings
from node.dimse_policy import apply_dimse_policy, prepare_requestor
from node.errors import CountsUnavailable
from node.tls_client import TlsRequest

STUDY_ROOT_FIND = UID("1.2.840.10008.5.1.4.1.2.2.1")

_SUCCESS = 0x0000
_PENDING = (0xFF00, 0xFF01)


@dataclass(frozen=True, slots=True)
class SeriesCount:
    """One series in the PACS; `instances` is None where the PACS does not say."""

    modality: str
    instances: int | None


@dataclass(frozen=True, slots=True)
class PacsCounts:
    """What a PACS has of one study; `instances` is None where it does not say."""

    instances: int | None = None
    series: Mapping[str, SeriesCount] = field(default_factory=dict)


def ask_counts(
    sender: SenderSettings, study_instance_uid: str, *, calling_ae_title: str, timeout_s: float
) -> PacsCounts:
    """Ask the PACS behind `sender`; a study it does not know has no series and no count.

    Each step (connection, association, each answer) may take `timeout_s`.

    Raises:
        CountsUnavailable: no `find_host`, no connection, no association or no final answer.
    """
    if sender.find_host is None or sender.find_port is None:
        raise CountsUnavailable("no find_host is configured for this sender")
    apply_dimse_policy()
    assoc = _associate(sender, calling_ae_title, timeout_s)
    try:
        studies = _find(assoc, _study_query(study_instance_uid))
        series = _find(assoc, _series_query(study_instance_uid))
    finally:
        if assoc.is_established:
            assoc.release()
    return _counts(studies, series)


def _associate(sender: SenderSettings, calling_ae_title: str, timeout_s: float) -> Any:
    ae = AE(ae_title=calling_ae_title)
    ae.connection_timeout = ae.acse_timeout = timeout_s
    ae.dimse_timeout = ae.network_timeout = timeout_s
    syntaxes = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]
    tls = TlsRequest(sender.find_tls, sender.find_host or "")
    if tls.unusable:
        raise CountsUnavailable(f"our TLS files for the C-FIND cannot be used: {tls.unusable}")
    try:
        assoc = ae.associate(
            sender.find_host,
            sender.find_port,
            contexts=[build_context(STUDY_ROOT_FIND, syntaxes)],
            ae_title=sender.find_ae_title or sender.ae_title,
            evt_handlers=[(evt.EVT_CONN_OPEN, prepare_requestor)],
            **tls.arguments,
        )
    except OSError as error:
        raise CountsUnavailable("the host of the C-FIND provider is unknown") from error
    if not assoc.is_established:
        raise CountsUnavailable(_no_association(tls, assoc))
    return assoc


def _no_association(tls: TlsRequest, assoc: Any) -> str:
    if tls.fault:
        return f"no TLS with the C-FIND provider: {tls.fault}"
    return f"the C-FIND provider {_why_not(assoc)}"


def _why_not(assoc: Any) -> str:
    if assoc.is_rejected:
        return "rejected the association"
    return "does not serve Study Root queries" if assoc.rejected_contexts else "is not reachable"


def _study_query(study_instance_uid: str) -> Dataset:
    query = Dataset()
    query.QueryRetrieveLevel = "STUDY"
    query.StudyInstanceUID = study_instance_uid
    query.NumberOfStudyRelatedInstances = None
    return query


def _series_query(study_instance_uid: str) -> Dataset:
    query = Dataset()
    query.QueryRetrieveLevel = "SERIES"
    query.StudyInstanceUID = study_instance_uid
    query.SeriesInstanceUID = ""
    query.Modality = ""
    query.NumberOfSeriesRelatedInstances = None
    return query


def _find(assoc: Any, query: Dataset) -> list[Dataset]:
    """Return all matches of one query."""
    if not assoc.is_established:
        raise CountsUnavailable("the C-FIND provider ended the association")
    try:
        responses = list(assoc.send_c_find(query, STUDY_ROOT_FIND))
    except (RuntimeError, ValueError) as error:
        raise CountsUnavailable("the C-FIND could not be sent") from error
    status = responses[-1][0].get("Status") if responses else None
    if status != _SUCCESS:
        text = "no answer in time" if status is None else f"status 0x{status:04X}"
        raise CountsUnavailable(f"the C-FIND ended without success: {text}")
    return [match for status, match in responses if match and status.Status in _PENDING]


def _counts(studies: list[Dataset], series: list[Dataset]) -> PacsCounts:
    return PacsCounts(
        instances=_number(studies[0], "NumberOfStudyRelatedInstances") if studies else None,
        series={
            str(match.SeriesInstanceUID): SeriesCount(
                modality=str(match.get("Modality") or ""),
                instances=_number(match, "NumberOfSeriesRelatedInstances"),
            )
            for match in series
            if match.get("SeriesInstanceUID")
        },
    )


def _number(match: Dataset, keyword: str) -> int | None:
    """Return an IS of a match; anything that is no count counts as not said."""
    try:
        number = int(str(match.get(keyword)))
    except ValueError:
        return None
    return number if number >= 0 else None
