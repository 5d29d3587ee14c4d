from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from nibabel.eulerangles import euler2mat

from node.demo.errors import InvalidNifti
from node.demo.nifti import read_nifti

DATA = Path(__file__).parents[3] / "node" / "demo" / "data" / "hippocampus"
TYPES = ["uint8", "int8", "int16", "uint16", "int32", "uint32", "float32", "float64"]


def affines() -> st.SearchStrategy[np.ndarray[Any, Any]]:
    """Rotation, spacing, reflection and offset: what a qform can state."""

    def build(euler: tuple[float, ...], spacing: tuple[float, ...], sign: int, offset: Any) -> Any:
        affine = np.eye(4)
        rotation = euler2mat(*euler)
        affine[:3, :3] = rotation @ np.diag([spacing[0], spacing[1], sign * spacing[2]])
        affine[:3, 3] = offset
        return affine

    angle = st.floats(-3.0, 3.0)
    length = st.floats(0.25, 8.0)
    place = st.floats(-300.0, 300.0)
    return st.builds(
        build,
        st.tuples(angle, angle, angle),
        st.tuples(length, length, length),
        st.sampled_from([1, -1]),
        st.tuples(place, place, place),
    )


@given(
    voxels=st.sampled_from(TYPES).flatmap(
        lambda name: hnp.arrays(name, (2, 3, 4), elements=st.integers(0, 100))
    ),
    affine=affines(),
    code=st.sampled_from(["sform", "qform"]),
    order=st.sampled_from("<>"),
)
def test_it_reads_what_nibabel_reads(
    tmp_path_factory: pytest.TempPathFactory, voxels: Any, affine: Any, code: str, order: str
) -> None:
    path = tmp_path_factory.mktemp("nifti") / "volume.nii.gz"
    header = nibabel.Nifti1Header(endianness=order)
    header.set_data_dtype(voxels.dtype)
    header.set_xyzt_units("mm")
    image = nibabel.Nifti1Image(voxels, None, header)
    getattr(image, f"set_{code}")(affine, 1)
    nibabel.save(image, path)

    ours, theirs = read_nifti(path), nibabel.load(path)

    np.testing.assert_array_equal(ours.voxels, np.asarray(theirs.dataobj))
    np.testing.assert_allclose(ours.affine_ras, theirs.affine, atol=1e-4)


@pytest.mark.parametrize("path", sorted(DATA.rglob("*.nii.gz")), ids=lambda path: path.parent.name)
def test_every_shipped_volume_reads_as_nibabel_reads_it(path: Path) -> None:
    ours, theirs = read_nifti(path), nibabel.load(path)

    np.testing.assert_array_equal(ours.voxels, np.asarray(theirs.dataobj))
    np.testing.assert_array_equal(ours.affine_ras, theirs.affine)


def test_the_files_own_scaling_is_applied(tmp_path: Path) -> None:
    content = bytearray(_content(tmp_path))
    struct.pack_into("<2f", content, 112, 0.5, -3.0)

    scaled = read_nifti(_write(tmp_path, bytes(content)))

    np.testing.assert_allclose(scaled.voxels.ravel(order="F"), np.arange(24) * 0.5 - 3.0)


@pytest.mark.parametrize(
    ("offset", "form", "value", "message"),
    [
        (0, "i", 540, "does not begin with its size"),
        (344, "4s", b"ni1\0", "not a NIfTI-1 file"),
        (70, "h", 32, "datatype 32"),
        (40, "h", 2, "not one volume"),
        (42, "h", -1, "not one volume"),
        (42, "h", 30000, "do not fit"),
        (108, "f", 0.0, "do not fit"),
        (108, "f", 1e9, "do not fit"),
        (123, "B", 1, "not in millimetres"),
        (254, "h", 0, "neither sform nor qform"),
        (280, "f", float("nan"), "not a volume"),
        (280, "f", 0.0, "not a volume"),
    ],
)
def test_a_file_that_is_not_fully_understood_is_refused(
    tmp_path: Path, offset: int, form: str, value: Any, message: str
) -> None:
    content = bytearray(_content(tmp_path))
    struct.pack_into("<" + form, content, offset, value)

    with pytest.raises(InvalidNifti, match=message):
        read_nifti(_write(tmp_path, bytes(content)))


@pytest.mark.parametrize(
    "content",
    [b"", b"no gzip at all", gzip.compress(b"short", mtime=0)],
    ids=["empty", "no gzip", "too short"],
)
def test_a_file_that_is_no_packed_nifti_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.nii.gz"
    path.write_bytes(content)

    with pytest.raises(InvalidNifti):
        read_nifti(path)


def _content(folder: Path) -> bytes:
    image = nibabel.Nifti1Image(np.arange(24, dtype="i2").reshape(2, 3, 4, order="F"), None)
    image.header.set_xyzt_units("mm")
    image.set_sform(np.diag([2.0, 3.0, 4.0, 1.0]), 1)
    nibabel.save(image, folder / "good.nii.gz")
    return gzip.decompress((folder / "good.nii.gz").read_bytes())


def _write(folder: Path, content: bytes) -> Path:
    path = folder / "changed.nii.gz"
    path.write_bytes(gzip.compress(content))
    return path
