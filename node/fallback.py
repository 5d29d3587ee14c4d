"""What a PACS gets that takes no segmentation: pictures and pages, and a report that stands alone.

The chain is LABELMAP, then the form that the node keeps, then this. A result without segmentation,
where nothing was found, is its report: where that is not taken, the same is sent in its place.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydicom.uid import Comprehensive3DSRStorage, SegmentationStorage

from config.object_profile import ObjectProfile
from node.errors import FormRefused
from pipelines.objects.encoding import LABEL_MAP_SEGMENTATION_STORAGE
from storage.records import FinishedJob
from storage.sent_objects import FALLBACK_KEY

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


def told_instead(refusal: FormRefused) -> Mapping[str, str]:
    """What stands in the receipt of a delivery that fell back: why."""
    return {FALLBACK_KEY: refusal.text}
