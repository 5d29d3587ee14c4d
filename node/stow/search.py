"""QIDO-RS at a DICOMweb destination: does it list these very objects (PS3.18 10.6)?"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, Final

from config.settings import StowDestination
from node.errors import CountsUnavailable, TransientDelivery
from node.find_objects import KnownObject
from node.stow.exchange import HttpAnswer, place, search

_SOP_INSTANCE_UID: Final = "00080018"
_OK, _NO_CONTENT = 200, 204


def search_objects(destination: StowDestination, objects: Sequence[KnownObject]) -> frozenset[str]:
    """Return the SOP Instance UIDs of those that the server lists in their study.

    Raises:
        CountsUnavailable: it cannot be asked.
    """
    return frozenset(each.sop_instance_uid for each in objects if _is_listed(destination, each))


def _is_listed(destination: StowDestination, wanted: KnownObject) -> bool:
    path = f"studies/{wanted.study_instance_uid}/instances"
    parameters = {
        "SeriesInstanceUID": wanted.series_instance_uid,
        "SOPInstanceUID": wanted.sop_instance_uid,
    }
    try:
        answer = search(destination, path, parameters)
    except TransientDelivery as error:
        raise CountsUnavailable(error.text) from error
    # Some servers know no such parameter and list the whole study.
    return wanted.sop_instance_uid in _listed(destination, answer)


def _listed(destination: StowDestination, answer: HttpAnswer) -> frozenset[str]:
    if answer.status == _NO_CONTENT:
        return frozenset()
    if answer.status != _OK:
        raise CountsUnavailable(f"{place(destination)} answered a search with {answer.status}")
    try:
        return frozenset(_uids(json.loads(answer.content)))
    except (ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError):
        text = f"{place(destination)} answered a search with no DICOM JSON"
        raise CountsUnavailable(text) from None


def _uids(found: Any) -> Iterator[str]:
    for item in found:
        yield from map(str, item.get(_SOP_INSTANCE_UID, {}).get("Value") or [])
