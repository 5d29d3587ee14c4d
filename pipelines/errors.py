"""Errors of pipelines.

PipelineError
├── InvalidDefinition   a pipeline's YAML file is wrong; names every key, value and line
├── InvalidBundle       a MONAI bundle is missing, broken or does not fit its definition
├── Refused             the images must not be processed; a code, and the figures behind it
├── InferenceFailed     the run broke (disk, memory, model), or the model's answer is impossible
│   ├── DeviceOutOfMemory   a smaller batch of windows, or another device, may do
│   └── DeviceLost          nothing runs on the device in this process any more
├── NotEncodable        a result cannot have the encoding that a destination asks for
└── ProofFailed         the written object is not what was computed; nothing may leave

Messages are fit for an operator and a log: no patient data, no UIDs, no file names of images.
"""

from __future__ import annotations

from enum import StrEnum

from config.errors import Problem


class PipelineError(Exception):
    """Anything that keeps a pipeline from giving a result."""


class InvalidDefinition(PipelineError):
    """Every problem found in one definition, so that an operator mends all of them at once."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        self.problems = problems
        super().__init__("\n".join(str(problem) for problem in problems))


class InvalidBundle(PipelineError):
    """The text says what is wrong, in which bundle and file, and what to do."""


class RefusalCode(StrEnum):
    """Why a study was not processed; stable words, fit for metrics and for counting."""

    NO_PIPELINE_MATCHES = "no_pipeline_matches"
    IMAGES_REJECTED = "images_rejected"
    ROUTING_FAILED = "routing_failed"
    PIPELINE_CHANGED = "pipeline_changed"
    LOCALIZER = "localizer"
    DERIVED = "derived"
    SECONDARY_CAPTURE = "secondary_capture"
    NOT_A_VOLUME = "not_a_volume"
    NOT_A_PROJECTION = "not_a_projection"
    FOR_PROCESSING = "for_processing"
    WRONG_VIEW = "wrong_view"
    WRONG_LATERALITY = "wrong_laterality"
    MISSING_VIEW = "missing_view"
    SEVERAL_IMAGES = "several_images"
    TOO_SMALL = "too_small"
    NON_SQUARE_PIXELS = "non_square_pixels"
    SEVERAL_VOLUMES = "several_volumes"
    NOT_GREYSCALE = "not_greyscale"
    LOSSY_COMPRESSION = "lossy_compression"
    NO_GEOMETRY = "no_geometry"
    UNIDENTIFIED = "unidentified"
    MIXED_SERIES = "mixed_series"
    MIXED_FRAMES_OF_REFERENCE = "mixed_frames_of_reference"
    MIXED_ORIENTATION = "mixed_orientation"
    MIXED_MATRIX = "mixed_matrix"
    MIXED_SPACING = "mixed_spacing"
    WRONG_ORIENTATION = "wrong_orientation"
    TOO_FEW_SLICES = "too_few_slices"
    TOO_MANY_SLICES = "too_many_slices"
    DUPLICATE_POSITIONS = "duplicate_positions"
    MISSING_SLICES = "missing_slices"
    UNEVEN_SPACING = "uneven_spacing"
    GANTRY_TILT = "gantry_tilt"
    DIFFERENT_GRIDS = "different_grids"
    UNREADABLE_PIXELS = "unreadable_pixels"
    INVERTED_VALUES = "inverted_values"
    NO_CONTRAST = "no_contrast"
    NO_SUV = "no_suv"
    OUT_OF_DISTRIBUTION = "out_of_distribution"


class Refused(PipelineError):
    """The images must not be processed; not a fault of the program, and never retried.

    `text` tells the figures that decided (counts, millimetres, degrees), never patient data.
    """

    def __init__(self, code: RefusalCode, text: str) -> None:
        self.code = code
        self.text = text
        super().__init__(f"{code}: {text}")


class InferenceFailed(PipelineError):
    """The run broke (disk, device, memory, model) or its answer is impossible.

    Worth another attempt.
    """


class DeviceOutOfMemory(InferenceFailed):
    """The device has not the memory that this batch of windows needs."""


class DeviceLost(InferenceFailed):
    """The device's context is broken; only a new process can use the device again."""


class ProofFailed(PipelineError):
    """A written object, read back, differs from what was computed."""


class NotEncodable(PipelineError):
    """A result cannot have the encoding that a destination asks for; the text says why."""
