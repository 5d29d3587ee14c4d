"""What a PACS gets that takes no segmentation: pictures and pages, and a report that stands alone.

The chain is LABELMAP, then the form that the node keeps, then this. A result without segmentation,
where nothing was found, is its report: where that is not taken, the same is sent in its place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from pydicom.uid import Comprehensive3DSRStorage, SegmentationStorage

from config.object_profile import ObjectProfile
from node.errors import FormRefused
from node.wanted_objects import Offer, wanted_objects
from pipelines.objects.encoding import LABEL_MAP_SEGMENTATION_STORAGE
from storage.records import FinishedJob, ObjectKind
from storage.sent_objects import FALLBACK_KEY, LEFT_OUT_KEY

_SOP_CLASSES = {
    "seg": frozenset({str(SegmentationStorage), str(LABEL_MAP_SEGMENTATION_STORAGE)}),
    "sr": frozenset({str(Comprehensive3DSRStorage)}),
}


def kinds_instead(
    profile: ObjectProfile, finished: FinishedJob, refusal: FormRefused
) -> tuple[str, ...]:
    """Give the kinds of objects to offer after a refusal, the most wanted first.

    None where the profile has no fallback, the job did not make it, or something else was refused.
    """
    made = {each.kind.name.lower() for each in finished.objects}
    wanted = [kind for kind in profile.objects if kind in made]
    main = "seg" if "seg" in wanted else "sr"
    pages = [kind for kind in profile.fallback if kind in made]
    if main not in wanted or not pages or not _SOP_CLASSES[main] & refusal.sop_classes:
        return ()
    others = [kind for kind in wanted if kind != main]
    return tuple(dict.fromkeys([*others, *pages]))


def unexplained(offer: Offer, finished: FinishedJob, refusal: FormRefused) -> Offer | None:
    """Give what to offer to a PACS that takes no heat maps: the same, and a report without them.

    None where something else was refused.
    """
    pictures = (each for each in wanted_objects(finished, offer) if each.kind is ObjectKind.HEAT)
    is_refused = any(each.sop_class_uid in refusal.sop_classes for each in pictures)
    return replace(offer, explains=False) if is_refused else None


def told_left_out(receipt: Mapping[str, str], what: str, why: str) -> Mapping[str, str]:
    """Give the receipt with what the PACS did not take beside the result."""
    known = receipt.get(LEFT_OUT_KEY)
    told = f"{what}: {why}"
    return {**receipt, LEFT_OUT_KEY: f"{told}; {known}" if known else told}


def told_instead(refusal: FormRefused) -> Mapping[str, str]:
    """What stands in the receipt of a delivery that fell back: why."""
    return {FALLBACK_KEY: refusal.text}
