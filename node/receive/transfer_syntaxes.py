"""Presentation contexts that the listener accepts (PS3.8 9.3.2, PS3.4 B).

Every Storage SOP Class is accepted, known, retired or private: one object that nobody will
analyse must not make a PACS fail the whole association. The transfer syntaxes are an explicit
list, because the acceptor chooses the first of *its own* list that a context proposes, and
because a data set in an encoding that cannot be decoded is better refused at negotiation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache

from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.service_class import ServiceClass, StorageServiceClass
from pynetdicom.sop_class import uid_to_service_class

from node.receive.services import Service
from storage.errors import InvalidUid
from storage.instance_files import validated_uid

ACCEPTED_TRANSFER_SYNTAXES: tuple[str, ...] = (
    "1.2.840.10008.1.2.1",  # Explicit VR Little Endian
    "1.2.840.10008.1.2",  # Implicit VR Little Endian
    "1.2.840.10008.1.2.1.99",  # Deflated Explicit VR Little Endian
    "1.2.840.10008.1.2.2",  # Explicit VR Big Endian (retired)
    "1.2.840.10008.1.2.5",  # RLE Lossless
    "1.2.840.10008.1.2.4.50",  # JPEG Baseline (Process 1)
    "1.2.840.10008.1.2.4.51",  # JPEG Extended (Processes 2 and 4)
    "1.2.840.10008.1.2.4.57",  # JPEG Lossless (Process 14)
    "1.2.840.10008.1.2.4.70",  # JPEG Lossless (Process 14, Selection Value 1)
    "1.2.840.10008.1.2.4.80",  # JPEG-LS Lossless
    "1.2.840.10008.1.2.4.81",  # JPEG-LS Near-Lossless
    "1.2.840.10008.1.2.4.90",  # JPEG 2000 Lossless Only
    "1.2.840.10008.1.2.4.91",  # JPEG 2000
    "1.2.840.10008.1.2.4.201",  # High-Throughput JPEG 2000 Lossless Only
    "1.2.840.10008.1.2.4.202",  # High-Throughput JPEG 2000 with RPCL Lossless Only
    "1.2.840.10008.1.2.4.203",  # High-Throughput JPEG 2000
)

SERVICE_TRANSFER_SYNTAXES = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.2")

_STANDARD_ROOT = "1.2.840.10008."
_STORAGE_ROOT = "1.2.840.10008.5.1.4.1.1."
_MOST_REMEMBERED = 512


def supported_contexts(
    proposed: Iterable[str], services: Mapping[str, Service]
) -> list[PresentationContext]:
    """Return what the listener supports of the abstract syntaxes that a caller proposes.

    `services` serve some SOP Classes beside storage, each by its UID.
    """
    contexts = []
    for uid in dict.fromkeys(proposed):
        if uid in services:
            contexts.append(_service_context(uid, services[uid].accepts_scp_role_reversal))
        elif _is_storage(uid):
            contexts.append(_storage_context(uid))
    return contexts


@lru_cache(maxsize=_MOST_REMEMBERED)
def _storage_context(uid: str) -> PresentationContext:
    """Remembered, for it takes long to make and is never changed: a sender proposes up to 128."""
    return build_context(uid, list(ACCEPTED_TRANSFER_SYNTAXES))


@lru_cache(maxsize=_MOST_REMEMBERED)
def _service_context(uid: str, accepts_scp_role_reversal: bool) -> PresentationContext:
    context = build_context(uid, list(SERVICE_TRANSFER_SYNTAXES))
    if accepts_scp_role_reversal:
        # Both: the caller may take either role, or both (PS3.7 D.3.3.4).
        context.scu_role = context.scp_role = True
    return context


def _is_storage(uid: str) -> bool:
    service = uid_to_service_class(uid)
    if service is StorageServiceClass:
        return True
    return service is ServiceClass and _is_foreign_storage(uid)


def _is_foreign_storage(uid: str) -> bool:
    """Tell private SOP classes, and retired or future storage ones, from other services'."""
    try:
        validated_uid(uid)
    except InvalidUid:
        return False
    return not uid.startswith(_STANDARD_ROOT) or uid.startswith(_STORAGE_ROOT)
