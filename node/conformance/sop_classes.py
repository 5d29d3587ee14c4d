"""SOP Classes, roles and transfer syntaxes, asked of the code that negotiates them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

from pydicom._uid_dict import UID_dictionary
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom.presentation import DEFAULT_TRANSFER_SYNTAXES, PresentationContext
from pynetdicom.sop_class import (
    Comprehensive3DSRStorage,
    EncapsulatedPDFStorage,
    GrayscaleSoftcopyPresentationStateStorage,
    KeyObjectSelectionDocumentStorage,
    ParametricMapStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
    StorageCommitmentPushModel,
)

from config.settings import DicomDestination
from node.conformance.markdown import code, table
from node.find_scu import STUDY_ROOT_FIND
from node.receive.availability_service import AvailabilityService
from node.receive.commitment_service import CommitmentService
from node.receive.performed_step_service import PerformedStepService
from node.receive.services import Service, VerificationService
from node.receive.transfer_syntaxes import ACCEPTED_TRANSFER_SYNTAXES, supported_contexts
from pipelines.objects.encoding import SegmentationForm, allowed_syntaxes, sop_class_name
from storage.records import ObjectKind

_SOP_CLASS = "SOP Class"
_PRIVATE_SOP_CLASS = "1.2.826.0.1.3680043.10.1561.999"

SERVICES = (
    VerificationService,
    CommitmentService,
    AvailabilityService,
    PerformedStepService,
)
"""What the listener serves beside storage; a test proposes every SOP Class to a running node."""

# What is served stands in the classes; nothing is asked of an instance here.
_SERVED = {
    uid: service for service in cast(tuple[Service, ...], SERVICES) for uid in service.sop_classes
}

RESULT_SOP_CLASSES: Mapping[ObjectKind, UID] = {
    ObjectKind.SEG: SegmentationStorage,
    ObjectKind.SR: Comprehensive3DSRStorage,
    ObjectKind.PDF: EncapsulatedPDFStorage,
    ObjectKind.SC: SecondaryCaptureImageStorage,
    ObjectKind.KO: KeyObjectSelectionDocumentStorage,
    ObjectKind.HEAT: SecondaryCaptureImageStorage,
    ObjectKind.KOS: KeyObjectSelectionDocumentStorage,
    ObjectKind.PR: GrayscaleSoftcopyPresentationStateStorage,
    ObjectKind.PM: ParametricMapStorage,
}
"""The SOP Class of each kind of result object."""


def scp_section() -> list[str]:
    """Return what the listener accepts as an SCP."""
    storage, services = _split(_accepted_contexts())
    return [
        "### As a service class provider",
        *table(
            ("SOP Class", "UID", "role of the caller", "transfer syntaxes"),
            (_service_row(context) for context in services),
        ),
        f"Storage is accepted for the {len(storage)} SOP Classes below"
        f"{_and_foreign()}; the caller is the SCU. Every context is accepted with the first of "
        "these transfer syntaxes, in this order, that it proposes:",
        *table(("transfer syntax", "UID"), map(_named, ACCEPTED_TRANSFER_SYNTAXES)),
        *table(
            ("Storage SOP Class", "UID"),
            (_named(str(context.abstract_syntax)) for context in storage),
        ),
    ]


def scu_section() -> list[str]:
    """Return what the node proposes as an SCU."""
    rows = [
        (*_named(str(uid)), purpose, ", ".join(UID(one).name for one in syntaxes))
        for uid, purpose, syntaxes in _proposed()
    ]
    head = ("SOP Class", "UID", "used for", "transfer syntaxes")
    return [
        "### As a service class user",
        *table(head, rows),
        "Only SOP Classes that are sent are proposed, each transfer syntax in a presentation "
        "context of its own. Which objects a destination gets, and in which transfer syntaxes, is "
        "set for each (`objects`, `segmentation`, `transfer_syntaxes`): Deflated may be added for "
        "every object, RLE, JPEG-LS and JPEG 2000 lossless for LABELMAP and FRACTIONAL. Where "
        "there is a choice, an association with all alternatives is opened first and released; "
        "LABELMAP gives way to Segmentation Storage where it is not accepted, and that to "
        "what `fallback` says, with a report that refers to no segmentation. Results of KOS (key "
        "images, Of Interest), PR (their outlines) and PM (values of heat maps) are left out where "
        "they are not accepted, "
        "and HEAT results with the references to them in the report. `radnode send` proposes the "
        "SOP Classes and transfer syntaxes of the files that it is given.",
    ]


def _proposed() -> Iterator[tuple[UID, str, Sequence[str]]]:
    """Give SOP Class, purpose and transfer syntaxes of what the node asks of others."""
    for kind in ObjectKind:
        syntaxes = DicomDestination.model_fields["transfer_syntaxes"].default
        yield RESULT_SOP_CLASSES[kind], f"C-STORE of {kind.name} results", syntaxes
    forms = "C-STORE of SEG results, where `segmentation` is labelmap"
    syntaxes = allowed_syntaxes(SegmentationForm.LABELMAP)
    yield SegmentationForm.LABELMAP.sop_class_uid, forms, syntaxes
    finding = "C-FIND: counts and identity of a study, and whether a PACS has our results"
    yield STUDY_ROOT_FIND, finding, (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
    committing = "N-ACTION: a commitment to our results; N-EVENT-REPORT: on what was asked of us"
    yield StorageCommitmentPushModel, committing, DEFAULT_TRANSFER_SYNTAXES


def _accepted_contexts() -> list[PresentationContext]:
    """Return the contexts of all SOP Classes that the standard's registry knows."""
    uids = [uid for uid, entry in UID_dictionary.items() if entry[1] == _SOP_CLASS]
    return supported_contexts(uids, _SERVED)


def _split(
    contexts: list[PresentationContext],
) -> tuple[list[PresentationContext], list[PresentationContext]]:
    """Return storage contexts and the others, each by UID."""
    ordered = sorted(contexts, key=lambda context: _numbers(str(context.abstract_syntax)))
    storage = [context for context in ordered if _is_storage(context)]
    return storage, [context for context in ordered if not _is_storage(context)]


def _is_storage(context: PresentationContext) -> bool:
    return tuple(map(str, context.transfer_syntax)) == ACCEPTED_TRANSFER_SYNTAXES


def _numbers(uid: str) -> list[int]:
    return [int(part) for part in uid.split(".")]


def _service_row(context: PresentationContext) -> tuple[str, ...]:
    names = ", ".join(UID(uid).name for uid in context.transfer_syntax or ())
    return (*_named(str(context.abstract_syntax)), "/".join(_caller_roles(context)), names)


def _caller_roles(context: PresentationContext) -> Iterator[str]:
    yield "SCU"
    if context.scp_role:
        yield "SCP"


def _named(uid: str) -> tuple[str, str]:
    name = sop_class_name(UID(uid))
    entry = UID_dictionary.get(uid)
    # The registry has its retired entries marked in a column of their own.
    is_retired = entry is not None and entry[3] == "Retired"
    return f"{name} (retired)" if is_retired and "(Retired)" not in name else name, code(uid)


def _and_foreign() -> str:
    return ", and for private ones" if supported_contexts([_PRIVATE_SOP_CLASS], _SERVED) else ""
