"""C-FIND SCU at the IMAGE level: does a PACS know these very objects (PS3.4 C.6.2.1)?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydicom.dataset import Dataset

from node.commitment_association import Peer
from node.find_scu import find, find_association


@dataclass(frozen=True, slots=True)
class KnownObject:
    """One object by the unique keys of all levels."""

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str


def find_objects(peer: Peer, objects: Sequence[KnownObject]) -> frozenset[str]:
    """Return the SOP Instance UIDs of those that the PACS lists.

    Raises:
        CountsUnavailable: it cannot be asked.
    """
    found: set[str] = set()
    with find_association(
        peer.host,
        peer.port,
        called_ae_title=peer.called_ae_title,
        calling_ae_title=peer.calling_ae_title,
        timeout_s=peer.timeout_s,
        tls=peer.tls,
    ) as assoc:
        for wanted in objects:
            matches = find(assoc, _query(wanted))
            uids = {str(match.get("SOPInstanceUID") or "") for match in matches}
            found |= uids & {wanted.sop_instance_uid}
    return frozenset(found)


def _query(wanted: KnownObject) -> Dataset:
    query = Dataset()
    query.QueryRetrieveLevel = "IMAGE"
    query.StudyInstanceUID = wanted.study_instance_uid
    query.SeriesInstanceUID = wanted.series_instance_uid
    query.SOPInstanceUID = wanted.sop_instance_uid
    return query
