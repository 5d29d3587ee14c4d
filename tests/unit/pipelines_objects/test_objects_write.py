from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian

from pipelines.objects.segmentation import build_segmentation
from pipelines.objects.uids import IMPLEMENTATION_CLASS_UID
from pipelines.objects.write import write_object
from tests.unit.pipelines_objects.result_requests import UIDS, label_map, segmentation_request
from tests.unit.pipelines_objects.synthetic_series import classic_series


def test_the_file_is_what_its_size_and_digest_say(tmp_path: Path) -> None:
    segmentation = build_segmentation(segmentation_request(classic_series(), label_map()))
    path = tmp_path / "results" / "1" / "seg.dcm"
    size, digest = write_object(segmentation, path)
    content = path.read_bytes()
    assert (size, digest) == (len(content), sha256(content).hexdigest())
    assert [item.name for item in path.parent.iterdir()] == ["seg.dcm"]


def test_the_file_meta_information_is_ours(tmp_path: Path) -> None:
    segmentation = build_segmentation(segmentation_request(classic_series(), label_map()))
    write_object(segmentation, tmp_path / "seg.dcm")
    meta = dcmread(tmp_path / "seg.dcm").file_meta
    assert meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert meta.MediaStorageSOPInstanceUID == UIDS.seg_instance
    assert meta.ImplementationClassUID == IMPLEMENTATION_CLASS_UID
    assert meta.ImplementationVersionName == "RADNODE"
