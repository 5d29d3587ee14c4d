"""The keys of a pipeline definition: which series, which model, what its findings are called.

`config/pipelines/hippocampus_mr.yaml` explains every key with its consequence.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from config.setting_types import Frozen, Name
from pipelines.criteria import Criterion, Keyword
from pipelines.explanation_schema import Explanation
from pipelines.input_check import InputStatistics
from pipelines.network_schema import NetworkDefinition
from pipelines.projection_rules import SeveralProjections, refuse_unfit_projections
from pipelines.projection_views import View
from pipelines.reading_policy import Kind, Laterality, SeveralImages, SeveralVolumes, Values
from pipelines.uncertainty_rules import refuse_unfit
from pipelines.uncertainty_schema import Uncertainty
from storage.dicom_records import CodedConcept

Orientation = Literal["axial", "coronal", "sagittal", "oblique"]
LongString = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[^\\]+$")]
Colour = Annotated[int, Field(ge=0, le=255)]
LabelValue = Annotated[int, Field(ge=1, le=65535)]
Precision = Literal["float32", "bfloat16", "float16"]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
OF_PROJECTIONS = frozenset({"views", "laterality", "allow_view_modifiers"}) | frozenset(
    {"several_images", "values", "allow_for_processing", "allow_contradictory_polarity"}
)
OF_VOLUMES = frozenset(
    {"slices", "orientation", "several_volumes", "allow_tilt", "allow_no_frame_of_reference"}
)
LARGEST_SERIES_NUMBER = 2**31 - 2  # IS; the report takes the next one


class Code(Frozen):
    """A code as DICOM writes it (PS3.3 8.8): value, coding scheme designator, meaning."""

    value: Annotated[str, StringConstraints(min_length=1, max_length=16)]
    scheme: Annotated[str, StringConstraints(min_length=1, max_length=16)]
    meaning: LongString

    def concept(self) -> CodedConcept:
        """The same code as the record that crosses package borders."""
        return CodedConcept(self.value, self.scheme, self.meaning)


class SliceLimits(Frozen):
    """How many slices a series may have; frames count for multi-frame images."""

    min: Annotated[int, Field(ge=2)] = 3
    max: Annotated[int, Field(ge=2)] = 4096

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.max < self.min:
            raise ValueError("max is less than min")
        return self


class Preference(Frozen):
    """One step in choosing between series that fit: by slice count or by an attribute."""

    slices: Literal["most", "fewest"] | None = None
    tag: Keyword | None = None
    order: Literal["ascending", "descending"] = "ascending"

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if (self.slices is None) == (self.tag is None):
            raise ValueError("give either slices or tag")
        return self


class InputCriteria(Frozen):
    """Which series may fill one input role of the model, and which channel of it that is.

    `OF_PROJECTIONS` are the keys for projections alone, `OF_VOLUMES` those for volumes.
    """

    channel: LongString | None = None
    kind: Kind = "volume"
    where: Annotated[tuple[Criterion, ...], Field(min_length=1)]
    slices: SliceLimits = SliceLimits()
    orientation: Annotated[tuple[Orientation, ...], Field(min_length=1)] = (
        "axial",
        "coronal",
        "sagittal",
        "oblique",
    )
    prefer: tuple[Preference, ...] = (Preference(slices="most"),)
    allow_lossy: bool = False
    allow_derived: bool = False
    allow_tilt: bool = False
    allow_no_frame_of_reference: bool = False
    several_volumes: SeveralVolumes = "refuse"
    views: tuple[View, ...] = ()
    laterality: Laterality | None = None
    allow_view_modifiers: bool = False
    allow_contradictory_polarity: bool = False
    several_images: SeveralImages = "refuse"
    values: Values = "modality"
    allow_for_processing: bool = False
    input_statistics: InputStatistics | None = None

    @model_validator(mode="after")
    def _of_its_kind(self) -> Self:
        others = OF_PROJECTIONS if self.kind == "volume" else OF_VOLUMES
        strange = sorted(self.model_fields_set & others)
        if strange:
            raise ValueError(f"{', '.join(strange)}: not for an input of kind {self.kind}")
        return self


class SegmentDefinition(Frozen):
    """How one label value of the model's answer is told in DICOM and FHIR."""

    label_value: LabelValue
    label: LongString
    tracking_id: LongString
    category: Code
    type: Code
    type_modifier: Code | None = None
    anatomic_region: Code | None = None
    color_rgb: tuple[Colour, Colour, Colour]
    also: tuple[LabelValue, ...] = ()
    min_volume_ml: Annotated[float, Field(ge=0)] = 0.0


class Calibration(Frozen):
    """Platt scaling of the model's log-odds: a * log(p / (1 - p)) + b; a temperature T is a 1/T."""

    a: Annotated[float, Field(gt=0)] = 1.0
    b: float = 0.0


class ClassDefinition(Frozen):
    """How one class that the model knows is told; it is found from `operating_point` on."""

    output: Annotated[int, Field(ge=0, le=65535)]
    label: LongString
    tracking_id: LongString
    category: Code
    type: Code
    anatomic_region: Code | None = None
    operating_point: Annotated[float, Field(gt=0, lt=1)]
    calibration: Calibration = Calibration()


class PairedStructures(Frozen):
    """Label values of one organ on either side of the patient."""

    left: Annotated[int, Field(ge=1, le=65535)]
    right: Annotated[int, Field(ge=1, le=65535)]


class PipelineDefinition(Frozen):
    """One pipeline, as its YAML file says it."""

    name: Name
    version: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    title: LongString
    bundle: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
    model_files: dict[str, Sha256] = Field(default_factory=dict)
    network: NetworkDefinition | None = None
    priority: Annotated[int, Field(ge=0, le=1000)] = 100
    time_limit_s: Annotated[float, Field(gt=0)] | None = None
    precision: Precision = "float32"
    least_agreement: Annotated[float, Field(gt=0, le=1)] = 0.99
    inputs: Annotated[dict[Name, InputCriteria], Field(min_length=1)]
    series_number: Annotated[int, Field(ge=1, le=LARGEST_SERIES_NUMBER)] = 9001
    series_description: LongString
    procedure_reported: Code
    segments: tuple[SegmentDefinition, ...] = ()
    classes: tuple[ClassDefinition, ...] = ()
    temperature: Annotated[float, Field(gt=0)] = 1.0
    windows: Literal["max", "mean"] | None = None
    several_projections: SeveralProjections | None = None
    missing_views: Literal["refuse", "leave_out"] = "refuse"
    left_right: tuple[PairedStructures, ...] = ()
    uncertainty: Uncertainty | None = None
    explanation: Explanation | None = None
    destinations: tuple[Name, ...] = ()

    @model_validator(mode="after")
    def _known_pairs(self) -> Self:
        described = {segment.label_value for segment in self.segments}
        for pair in self.left_right:
            for value in (pair.left, pair.right):
                if value not in described:
                    raise ValueError(f"left_right: no segment has the label value {value}")
        return self

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if bool(self.segments) == bool(self.classes):
            raise ValueError("give either segments or classes, and at least one")
        if self.classes and self.left_right:
            raise ValueError("classes: left_right is for segments only")
        if not self.classes and (self.explanation or self.windows or self.temperature != 1.0):
            raise ValueError("explanation, temperature and windows: for classes only")
        return self

    @model_validator(mode="after")
    def _projections_are_judged_whole(self) -> Self:
        refuse_unfit_projections(
            [one.kind for one in self.inputs.values()],
            self.several_projections,
            has_classes=bool(self.classes),
            leaves_out=self.missing_views == "leave_out",
        )
        return self

    @model_validator(mode="after")
    def _network_of_its_kind(self) -> Self:
        if self.network is None:
            return self
        edges = 2 if self.is_of_projections else 3
        if self.network.resize and len(self.network.resize) != edges:
            raise ValueError(f"network: resize has {edges} edges here")
        if self.is_of_projections and (self.network.patch_size or self.network.spacing_mm):
            raise ValueError("network: patch_size and spacing_mm are not for projections")
        return self

    @model_validator(mode="after")
    def _distinct_classes(self) -> Self:
        for key in ("output", "label", "tracking_id"):
            values = [getattr(one, key) for one in self.classes]
            twice = sorted({str(value) for value in values if values.count(value) > 1})
            if twice:
                raise ValueError(f"classes: {key} {', '.join(twice)} is given twice")
        return self

    @model_validator(mode="after")
    def _measurable(self) -> Self:
        if self.uncertainty is not None:
            refuse_unfit(
                self.uncertainty,
                classes=[(one.label, one.type.meaning, one.tracking_id) for one in self.classes],
                is_flat=self.is_of_projections,
                has_pairs=bool(self.left_right),
            )
        return self

    @model_validator(mode="after")
    def _distinct_segments(self) -> Self:
        for key in ("label_value", "label", "tracking_id", "color_rgb"):
            values = [getattr(segment, key) for segment in self.segments]
            twice = sorted({str(value) for value in values if values.count(value) > 1})
            if twice:
                raise ValueError(f"segments: {key} {', '.join(twice)} is given twice")
        return self

    @property
    def is_of_projections(self) -> bool:
        """Whether the model takes an X-ray, no volume."""
        return any(one.kind == "projection" for one in self.inputs.values())

    @property
    def report_series_number(self) -> int:
        """SeriesNumber of the SR; the SEG has `series_number`."""
        return self.series_number + 1
