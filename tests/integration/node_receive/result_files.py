"""A segmentation and a report to send, small and synthetic."""

from __future__ import annotations

from pathlib import Path

from pydicom.uid import ComprehensiveSRStorage, SegmentationStorage

from tests.integration.node_receive.mr_study import ROOT, mr_instance, write

SEG_UID = f"{ROOT}.50.1"
SR_UID = f"{ROOT}.60.1"


def result_files(folder: Path) -> list[Path]:
    """Write a report and a segmentation, named so that their order on disk is the wrong one."""
    paths = []
    for sop_class, uid, modality, name in (
        (ComprehensiveSRStorage, SR_UID, "SR", "a"),
        (SegmentationStorage, SEG_UID, "SEG", "b"),
    ):
        dataset = mr_instance()
        dataset.SOPClassUID = sop_class
        dataset.SOPInstanceUID = uid
        dataset.SeriesInstanceUID = uid.removesuffix(".1")
        dataset.Modality = modality
        dataset.Manufacturer = "radnode"
        if modality == "SR":
            del dataset.PixelData
        paths.append(write(dataset, folder / name))
    return paths
