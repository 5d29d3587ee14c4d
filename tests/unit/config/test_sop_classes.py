"""Groups of SOP Classes are what a person would take them to be."""

from __future__ import annotations

import pytest
from pydantic import ValidationError
from pynetdicom.sop_class import _STORAGE_CLASSES

from config.settings import SenderSettings
from config.sop_classes import GROUPS, group_of, is_among

ROOT = "1.2.840.10008.5.1.4.1.1"
KNOWN = {
    "CTImageStorage": "ct",
    "EnhancedCTImageStorage": "ct",
    "MRImageStorage": "mr",
    "ComputedRadiographyImageStorage": "cr_dx",
    "DigitalXRayImageStorageForPresentation": "cr_dx",
    "DigitalMammographyXRayImageStorageForPresentation": "mg",
    "BreastTomosynthesisImageStorage": "mg",
    "UltrasoundMultiFrameImageStorage": "us",
    "SecondaryCaptureImageStorage": "sc",
    "SegmentationStorage": "seg",
    "LabelMapSegmentationStorage": "seg",
    "RawDataStorage": "raw",
    "SpatialRegistrationStorage": "registration",
    "Comprehensive3DSRStorage": "sr",
    "XRayRadiationDoseSRStorage": "sr",
    "KeyObjectSelectionDocumentStorage": "key_object",
    "EncapsulatedPDFStorage": "encapsulated",
    "GrayscaleSoftcopyPresentationStateStorage": "presentation_state",
    "PositronEmissionTomographyImageStorage": "pet",
    "NuclearMedicineImageStorage": "nm",
    "RTStructureSetStorage": "rt",
    "XRayAngiographicImageStorage": "xa_rf",
    "VLWholeSlideMicroscopyImageStorage": "microscopy",
    "OphthalmicTomographyImageStorage": "ophthalmic",
    "VLPhotographicImageStorage": "visible_light",
    "ParametricMapStorage": "parametric_map",
}


@pytest.mark.parametrize("keyword", KNOWN)
def test_a_sop_class_belongs_to_its_group(keyword: str) -> None:
    assert group_of(_STORAGE_CLASSES[keyword]) == KNOWN[keyword]


def test_images_and_documents_all_have_a_group() -> None:
    without = {name for name, uid in _STORAGE_CLASSES.items() if group_of(uid) is None}
    assert without <= {
        "BasicStructuredDisplayStorage",
        "ContentAssessmentResultsStorage",
        "CTPerformedProcedureProtocolStorage",
        "XAPerformedProcedureProtocolStorage",
        "RTBeamsDeliveryInstructionStorage",
        "RTBrachyApplicationSetupDeliveryInstructionsStorage",
        "SurfaceScanMeshStorage",
        "SurfaceScanPointCloudStorage",
    }


@pytest.mark.parametrize("uid", ["1.2.3", f"{ROOT}", f"{ROOT}.", f"{ROOT}.999", f"{ROOT}.20x", ""])
def test_what_is_in_no_branch_has_no_group(uid: str) -> None:
    assert group_of(uid) is None


def test_a_list_holds_groups_and_single_classes() -> None:
    assert is_among(f"{ROOT}.2", ["ct", "1.2.3"])
    assert is_among("1.2.3", ["ct", "1.2.3"])
    assert not is_among("1.2.3.4", ["ct", "1.2.3"])
    assert not is_among(f"{ROOT}.4", ["ct"])


@pytest.mark.parametrize("written", ["CT", "xray", "1.2.", "1", "01.2", "1." + "2" * 64, "1.2\n"])
def test_neither_a_group_nor_a_uid_is_refused_with_the_names(written: str) -> None:
    with pytest.raises(ValidationError) as caught:
        SenderSettings(ae_title="A", sop_classes=(written,))
    assert all(name in str(caught.value) for name in GROUPS)
