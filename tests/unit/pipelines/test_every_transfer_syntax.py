"""Whatever encoding the receiver accepts, the pipeline reads: each as its plain twin."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gdcm
import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID

from node.receive.transfer_syntaxes import ACCEPTED_TRANSFER_SYNTAXES
from pipelines.pixel_values import is_lossy, read_file, slice_values
from tests.unit.pipelines.volume_files import write_series

HTJ2K = bytes.fromhex(
    "ff4fff5100294000000000180000001000000000000000000000001800000010000000000000000000010f0101"
    "ff50000800020000000aff52000c00020001000504044001ff5c00132088909090909090909090909090888888"
    "ff64001700014f70656e4a50482056657220302e32362e332eff90000a0000000000990001ff93c000265ff705"
    "077400c000130062fd03077400c00012c0001380f1008774004844e200a23400c00013c00015408e3bfe820b74"
    "00228a10f1001080775600c0001530000578c0c0c0c0da718275000c1918181818fee018f63181ecb800c0002b"
    "e00016c046a3d168341a8df3fa7a7a7102780076dbb66ddbb66ddbb6ff1001081efd84207bf61081ecbf00ffd9"
)
"""`picture()` as a reversible HTJ2K code stream, written by OpenJPH."""

LARGEST_LOSS = 40.0


def picture() -> NDArray[np.uint16]:
    """A slope of 12 bits."""
    down, along = np.mgrid[:16, :24]
    values: NDArray[np.uint16] = (100 * along + 60 * down).astype(np.uint16)
    return values


def picture_for(syntax: str) -> NDArray[np.uint16]:
    """JPEG 2000 as pydicom writes it wants more than 32 rows."""
    return np.tile(picture(), (3, 2)) if syntax in JPEG_2000 else picture()


def eight_bits() -> NDArray[np.uint16]:
    return (picture() // 16).astype(np.uint16)


def image(folder: Path, pixels: NDArray[np.uint16]) -> Path:
    def twelve_bits(header: Dataset, _: int) -> None:
        header.BitsStored, header.HighBit = 12, 11

    (path,) = write_series(folder, pixels[np.newaxis], edit=twelve_bits)
    return path


def as_written_by_pydicom(path: Path, syntax: str) -> None:
    header = dcmread(path)
    if syntax == "1.2.840.10008.1.2.2":
        header.PixelData = np.frombuffer(header.PixelData, "<u2").astype(">u2").tobytes()
    header.file_meta.TransferSyntaxUID = UID(syntax)
    implicit, big = syntax == "1.2.840.10008.1.2", syntax == "1.2.840.10008.1.2.2"
    dcmwrite(path, header, implicit_vr=implicit, little_endian=not big)


def compressed_by_pydicom(**options: Any) -> Callable[[Path, str], None]:
    def write(path: Path, syntax: str) -> None:
        header = dcmread(path)
        header.compress(syntax, generate_instance_uid=False, **options)
        header.save_as(path)

    return write


def compressed_by_gdcm(path: Path, syntax: str) -> None:
    reader, writer = gdcm.ImageReader(), gdcm.ImageWriter()
    change = gdcm.ImageChangeTransferSyntax()
    reader.SetFileName(str(path))
    assert reader.Read()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(syntax)))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    writer.SetFileName(str(path))
    assert writer.Write()


def narrowed_and_compressed_by_gdcm(path: Path, syntax: str) -> None:
    header = dcmread(path)
    header.PixelData = header.pixel_array.astype(np.uint8).tobytes()
    header.BitsAllocated, header.BitsStored, header.HighBit = 8, 8, 7
    header["PixelData"].VR = "OB"
    header.save_as(path)
    compressed_by_gdcm(path, syntax)


def prepared(path: Path, syntax: str) -> None:
    header = dcmread(path)
    header.file_meta.TransferSyntaxUID = UID(syntax)
    header.PixelData = encapsulate([HTJ2K])
    header["PixelData"].VR = "OB"
    header.save_as(path)


Writer = Callable[[Path, str], None]
LOSSLESS: dict[str, Writer] = {
    "1.2.840.10008.1.2.1": as_written_by_pydicom,
    "1.2.840.10008.1.2": as_written_by_pydicom,
    "1.2.840.10008.1.2.1.99": as_written_by_pydicom,
    "1.2.840.10008.1.2.2": as_written_by_pydicom,
    "1.2.840.10008.1.2.5": compressed_by_pydicom(),
    "1.2.840.10008.1.2.4.57": compressed_by_gdcm,
    "1.2.840.10008.1.2.4.70": compressed_by_gdcm,
    "1.2.840.10008.1.2.4.80": compressed_by_pydicom(),
    "1.2.840.10008.1.2.4.90": compressed_by_pydicom(),
    "1.2.840.10008.1.2.4.201": prepared,
    "1.2.840.10008.1.2.4.202": prepared,
    "1.2.840.10008.1.2.4.203": prepared,
}
LOSSY: dict[str, Writer] = {
    "1.2.840.10008.1.2.4.50": narrowed_and_compressed_by_gdcm,
    "1.2.840.10008.1.2.4.51": narrowed_and_compressed_by_gdcm,
    "1.2.840.10008.1.2.4.81": compressed_by_pydicom(jls_error=3),
    "1.2.840.10008.1.2.4.91": compressed_by_pydicom(j2k_psnr=[60]),
}
JPEG_2000 = ("1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91")
ALWAYS_LOSSY = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.81")


def test_every_transfer_syntax_that_the_receiver_accepts_is_tried_here() -> None:
    assert {*LOSSLESS, *LOSSY} == set(ACCEPTED_TRANSFER_SYNTAXES)


@pytest.mark.parametrize("syntax", LOSSLESS)
def test_a_lossless_encoding_gives_the_same_values(tmp_path: Path, syntax: str) -> None:
    path = image(tmp_path, picture_for(syntax))
    LOSSLESS[syntax](path, syntax)
    assert read_file(path, with_pixels=False).file_meta.TransferSyntaxUID == syntax
    assert np.array_equal(slice_values(path), picture_for(syntax))


@pytest.mark.parametrize("syntax", LOSSY)
def test_a_lossy_encoding_gives_almost_the_same_values(tmp_path: Path, syntax: str) -> None:
    narrow = LOSSY[syntax] is narrowed_and_compressed_by_gdcm
    pixels = eight_bits() if narrow else picture_for(syntax)
    path = image(tmp_path, pixels)
    LOSSY[syntax](path, syntax)
    header = read_file(path, with_pixels=False)
    assert header.file_meta.TransferSyntaxUID == syntax
    values = slice_values(path)
    assert np.abs(values - pixels).max() < (LARGEST_LOSS / 8 if narrow else LARGEST_LOSS)
    assert is_lossy(header) or syntax not in ALWAYS_LOSSY
