"""Which objects a DICOM destination gets, how they are encoded, and how they are replaced."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from config.setting_types import Frozen

EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
IMPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2"
DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1.99"
RLE_LOSSLESS = "1.2.840.10008.1.2.5"
JPEG_LS_LOSSLESS = "1.2.840.10008.1.2.4.80"
JPEG_2000_LOSSLESS = "1.2.840.10008.1.2.4.90"

_NATIVE = (
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
)
_KNOWN = (*_NATIVE, RLE_LOSSLESS, JPEG_LS_LOSSLESS, JPEG_2000_LOSSLESS)


class ObjectProfile(Frozen):
    """What a destination takes; the node sends of it what the destination accepts."""

    objects: tuple[Literal["seg", "sr", "pdf", "sc", "kos", "pr", "pm"], ...] = ("seg", "sr")
    fallback: tuple[Literal["sc", "pdf", "pr", "kos"], ...] = ("sc", "pdf")
    segmentation: Literal["auto", "binary", "fractional", "labelmap"] = "auto"
    empty_frames: Literal["omit", "keep"] = "omit"
    most_segments: Annotated[int, Field(ge=1)] | None = None
    transfer_syntaxes: tuple[str, ...] = (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN)

    superseded: Literal["predecessor", "rejection_note", "none"] = "predecessor"
    rejection_title: Literal["quality", "retention_expired"] = "quality"

    @field_validator("objects")
    @classmethod
    def _some_object(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value or len(set(value)) != len(value):
            raise ValueError("name some of seg, sr, pdf, sc, kos, pr and pm, each once")
        return value

    @field_validator("fallback")
    @classmethod
    def _each_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) != len(value):
            raise ValueError("name each of sc, pdf, pr and kos once at most")
        return value

    @field_validator("transfer_syntaxes")
    @classmethod
    def _known_syntaxes(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value or not set(value) <= set(_KNOWN):
            raise ValueError(f"choose from {sorted(_KNOWN)}")
        if not set(value) & set(_NATIVE):
            raise ValueError("reports need one that does not compress frames: add Explicit VR")
        return value
