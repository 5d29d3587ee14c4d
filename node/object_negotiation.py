"""What a PACS accepts of a destination's profile: asked before anything is encoded.

An association is opened with every alternative and released again, so that a PACS waits for no
encoder, and one that is down costs none. LABELMAP gives way to the form that the node keeps.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from config.object_profile import ObjectProfile
from config.settings import DicomDestination
from node.store_association import open_association, refused
from pipelines.objects.encoding import (
    NATIVE_SYNTAXES,
    Encoding,
    SegmentationForm,
    allowed_syntaxes,
)
from storage.records import ObjectKind

_FORMS = {
    "auto": (SegmentationForm.AUTO,),
    "binary": (SegmentationForm.BINARY,),
    "fractional": (SegmentationForm.FRACTIONAL,),
    "labelmap": (SegmentationForm.LABELMAP, SegmentationForm.AUTO),
}
_UNCOMPRESSED = {ExplicitVRLittleEndian, ImplicitVRLittleEndian}

_Accepted = set[tuple[UID, UID]]


def accepted_encodings(
    destination: DicomDestination, calling_ae_title: str, sop_classes: Mapping[ObjectKind, str]
) -> list[Encoding]:
    """Give the encodings that the profile wants and the PACS accepts, the most wanted first.

    `sop_classes` are those of the kept objects that the profile names. A profile that leaves
    nothing to choose asks nobody: then the sending itself tells.

    Raises:
        TransientDelivery: the PACS could not be asked.
        PermanentDelivery: it takes a kind of object in no way that the profile allows.
    """
    forms = _FORMS[destination.segmentation] if ObjectKind.SEG in sop_classes else ()
    if len(forms) < 2 and set(destination.transfer_syntaxes) <= _UNCOMPRESSED:
        return [_encoding(destination, *forms)]
    reports = [UID(uid) for kind, uid in sop_classes.items() if kind is not ObjectKind.SEG]
    accepted = _accepted(destination, calling_ae_title, forms, reports)
    missing = {uid for uid in reports if not _syntaxes(destination, uid, NATIVE_SYNTAXES, accepted)}
    found = list(_encodings(destination, forms, reports, accepted))
    if forms and not found:
        missing |= {form.sop_class_uid for form in forms}
    if missing:
        raise refused(destination, missing)
    return found or [_encoding(destination, *forms, report=_report(destination, reports, accepted))]


def accepted_kinds(
    destination: DicomDestination, calling_ae_title: str, sop_classes: Mapping[ObjectKind, str]
) -> tuple[ObjectKind, ...]:
    """Give the kinds of objects, other than segmentations, that the PACS accepts at all.

    Raises:
        TransientDelivery: the PACS could not be asked.
    """
    accepted = _accepted(destination, calling_ae_title, (), list(map(UID, sop_classes.values())))

    def is_accepted(kind: ObjectKind) -> bool:
        allowed = NATIVE_SYNTAXES if kind is ObjectKind.SR else tuple(_UNCOMPRESSED)
        return bool(_syntaxes(destination, UID(sop_classes[kind]), allowed, accepted))

    return tuple(filter(is_accepted, sop_classes))


def wanted_encodings(profile: ObjectProfile, kinds: Collection[ObjectKind]) -> list[Encoding]:
    """Give the encodings that the profile allows, the most wanted first, accepted or not."""
    forms = _FORMS[profile.segmentation] if ObjectKind.SEG in kinds else (SegmentationForm.AUTO,)
    wanted = list(map(UID, profile.transfer_syntaxes))
    native = [syntax for syntax in wanted if syntax in NATIVE_SYNTAXES]
    found = (
        _encoding(profile, form, segmentation=segmentation, report=report)
        for form in forms
        for segmentation in wanted
        if segmentation in allowed_syntaxes(form)
        for report in native
    )
    return list(dict.fromkeys(found))


def _accepted(
    destination: DicomDestination,
    calling_ae_title: str,
    forms: Sequence[SegmentationForm],
    reports: Sequence[UID],
) -> _Accepted:
    allowed: dict[UID, list[UID]] = {uid: list(NATIVE_SYNTAXES) for uid in reports}
    for form in forms:
        allowed.setdefault(form.sop_class_uid, []).extend(allowed_syntaxes(form))
    wanted = list(map(UID, destination.transfer_syntaxes))
    proposals = {
        uid: [syntax for syntax in wanted if syntax in syntaxes]
        for uid, syntaxes in allowed.items()
    }
    assoc = open_association(destination, calling_ae_title, proposals)
    try:
        contexts = assoc.accepted_contexts
        return {(UID(each.abstract_syntax), each.transfer_syntax[0]) for each in contexts}
    finally:
        if assoc.is_established:
            assoc.release()


def _encodings(
    destination: DicomDestination,
    forms: Sequence[SegmentationForm],
    reports: Sequence[UID],
    accepted: _Accepted,
) -> Iterator[Encoding]:
    for form in forms:
        allowed = allowed_syntaxes(form)
        for syntax in _syntaxes(destination, form.sop_class_uid, allowed, accepted):
            report = _report(destination, reports, accepted)
            yield _encoding(destination, form, segmentation=syntax, report=report)


def _syntaxes(
    destination: DicomDestination, sop_class: UID, allowed: Sequence[UID], accepted: _Accepted
) -> list[UID]:
    wanted = map(UID, destination.transfer_syntaxes)
    return [each for each in wanted if each in allowed and (sop_class, each) in accepted]


def _report(destination: DicomDestination, reports: Sequence[UID], accepted: _Accepted) -> UID:
    """Give what all reports can have; each alone was found to be accepted in some way."""
    for syntax in map(UID, destination.transfer_syntaxes):
        if syntax in NATIVE_SYNTAXES and all((uid, syntax) in accepted for uid in reports):
            return syntax
    return ExplicitVRLittleEndian


def _encoding(
    profile: ObjectProfile,
    form: SegmentationForm = SegmentationForm.AUTO,
    *_others: SegmentationForm,
    segmentation: UID = ExplicitVRLittleEndian,
    report: UID = ExplicitVRLittleEndian,
) -> Encoding:
    return Encoding(
        form=form,
        keeps_empty_frames=profile.empty_frames == "keep",
        most_segments=profile.most_segments,
        segmentation_transfer_syntax=_on_disk(segmentation),
        report_transfer_syntax=_on_disk(report),
    )


def _on_disk(syntax: UID) -> UID:
    """Implicit is made of Explicit when it is sent."""
    return ExplicitVRLittleEndian if syntax == ImplicitVRLittleEndian else syntax
