"""Proposed SNOMED CT codes for the names that models give their labels.

Only codes that DICOM's own context groups (PS3.16) list; a test compares. A name that none of
them fits gets no proposal: a wrong code is worse than a missing one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from storage.dicom_records import CodedConcept

ANATOMY = CodedConcept("91723000", "SCT", "Anatomical Structure")
ABNORMAL = CodedConcept("49755003", "SCT", "Morphologically Abnormal Structure")
TISSUE = CodedConcept("85756007", "SCT", "Tissue")
LEFT = CodedConcept("7771000", "SCT", "Left")
RIGHT = CodedConcept("24028007", "SCT", "Right")
SIDES: Mapping[str, CodedConcept] = {
    "left": LEFT,
    "right": RIGHT,
    "anterior": CodedConcept("255549009", "SCT", "Anterior"),
    "posterior": CodedConcept("255551008", "SCT", "Posterior"),
}

_ANATOMY: Mapping[str, tuple[str, str]] = {
    "adrenal|adrenal gland": ("23451007", "Adrenal gland"),
    "amygdala": ("4958002", "Amygdala"),
    "aorta": ("15825003", "Aorta"),
    "atrial appendage left": ("33626005", "Left auricular appendage"),
    "autochthon|erector spinae": ("44947003", "Erector spinae muscle"),
    "bladder|urinary bladder": ("89837001", "Bladder"),
    "brachiocephalic trunk": ("12691009", "brachiocephalic trunk"),
    "brachiocephalic vein": ("8887007", "Brachiocephalic vein"),
    "brain": ("12738006", "Brain"),
    "caudate|caudate nucleus": ("11000004", "Caudate Nucleus"),
    "cerebellum": ("113305005", "Cerebellum"),
    "clavicula|clavicle": ("51299004", "Clavicle"),
    "colon": ("71854001", "Colon"),
    "common carotid artery": ("32062004", "Common carotid artery"),
    "costal cartilages|costal cartilage": ("50016007", "Costal Cartilage"),
    "duodenum": ("38848004", "Duodenum"),
    "esophagus|oesophagus": ("32849002", "Esophagus"),
    "face": ("89545001", "Face"),
    "femur": ("71341001", "Femur"),
    "gallbladder": ("28231008", "Gallbladder"),
    "heart": ("80891009", "Heart"),
    "heart atrium left|left atrium": ("82471001", "Left atrium"),
    "heart atrium right|right atrium": ("73829009", "Right atrium"),
    "heart ventricle left|left ventricle": ("87878005", "Left ventricle"),
    "heart ventricle right|right ventricle": ("53085002", "Right ventricle"),
    "hip": ("29836001", "Hip"),
    "hippocampus": ("5366008", "Hippocampus"),
    "humerus": ("85050009", "Humerus"),
    "iliac artery|common iliac artery": ("73634005", "Common iliac artery"),
    "iliac vena|iliac vein": ("244411005", "Iliac vein"),
    "inferior vena cava|ivc|postcava": ("64131007", "Inferior vena cava"),
    "kidney|kideny": ("64033007", "Kidney"),
    "lateral ventricle": ("66720007", "Lateral Ventricle"),
    "liver": ("10200004", "Liver"),
    "lung": ("39607008", "Lung"),
    "lung lower lobe": ("90572001", "Lower lobe of lung"),
    "lung middle lobe right": ("72481006", "Middle lobe of right lung"),
    "lung upper lobe": ("45653009", "Upper lobe of lung"),
    "pallidum|globus pallidus": ("14738005", "Globus Pallidus"),
    "pancreas": ("15776009", "Pancreas"),
    "parotid|parotid gland": ("45289007", "Parotid gland"),
    "portal vein|portal vein and splenic vein|portal and splenic veins": (
        "32764006",
        "Portal vein",
    ),
    "prostate": ("41216001", "Prostate"),
    "prostate peripheral zone|peripheral zone": ("279706003", "Peripheral zone of the prostate"),
    "prostate transition zone|transition zone": ("399384005", "Transition zone of the prostate"),
    "pulmonary artery": ("81040000", "Pulmonary artery"),
    "pulmonary vein": ("122972007", "Pulmonary vein"),
    "putamen": ("89278009", "Putamen"),
    "rib": ("113197003", "Rib"),
    "sacrum": ("54735007", "Sacrum"),
    "scapula": ("79601000", "Scapula"),
    "skull": ("89546000", "Skull"),
    "small bowel|small intestine": ("30315005", "Small intestine"),
    "spinal cord": ("2748008", "Spinal cord"),
    "spleen": ("78961009", "Spleen"),
    "sternum": ("56873002", "Sternum"),
    "stomach": ("69695003", "Stomach"),
    "subclavian artery": ("36765005", "Subclavian artery"),
    "superior vena cava|svc": ("48345005", "Superior vena cava"),
    "thalamus": ("42695009", "Thalamus"),
    "thyroid|thyroid gland": ("69748006", "Thyroid"),
    "trachea": ("44567001", "Trachea"),
    "uterus": ("35039007", "Uterus"),
}
_VERTEBRAE = (
    "L5 49668003,L4 11994002,L3 36470004,L2 14293000,L1 66794005,T12 23215003,T11 12989004,"
    "T10 7610001,T9 82687006,T8 11068009,T7 62487009,T6 45296009,T5 56401006,T4 73071006,"
    "T3 1626008,T2 53733008,T1 64864005,C7 87391001,C6 36054005,C5 36978003,C4 5329002,"
    "C3 113205007,C2 39976000,C1 14806007"
)
_ABNORMAL: Mapping[str, tuple[str, str]] = {
    "edema|oedema|peritumoral edema": ("79654002", "Edema"),
    "lesion": ("52988006", "Lesion"),
    "mass": ("4147007", "Mass"),
    "necrosis|necrotic core": ("6574001", "Necrosis"),
    "nodule|lung nodule": ("27925004", "Nodule"),
    "tumor|tumour|neoplasm|cancer|tumor core|whole tumor|enhancing tumor|liver tumor"
    "|kidney tumor|pancreas tumor|pancreatic tumor|colon cancer|lung tumor": (
        "108369006",
        "Neoplasm",
    ),
}


@dataclass(frozen=True, slots=True)
class ProposedCode:
    """A structure in codes: category, type and, for one of several, its side or part."""

    category: CodedConcept
    type: CodedConcept
    side: CodedConcept | None = None


def proposed_code(label: str) -> ProposedCode | None:
    """The code for a label such as `kidney_left` or `Left Kidney`; None where none is sure."""
    words = [word for word in re.split(r"[^a-z0-9]+", label.lower()) if word]
    sides = [word for word in words if word in SIDES]
    whole = _found(words)
    if whole is not None:
        return whole
    rest = [word for word in words if word not in (*SIDES, "the", "of")]
    found = _found(rest) or _found([word for word in rest if not word.isdigit()])
    if found is None or len(sides) > 1:
        return None
    side = SIDES[sides[0]] if sides else None
    return ProposedCode(found.category, found.type, side)


def _found(words: list[str]) -> ProposedCode | None:
    return _TABLE.get(" ".join(sorted(words)))


def _entries() -> dict[str, ProposedCode]:
    table: dict[str, ProposedCode] = {}
    for category, names in ((ANATOMY, _ANATOMY), (ABNORMAL, _ABNORMAL)):
        for keys, (value, meaning) in names.items():
            code = ProposedCode(category, CodedConcept(value, "SCT", meaning))
            table.update({" ".join(sorted(key.split())): code for key in keys.split("|")})
    for entry in _VERTEBRAE.split(","):
        level, value = entry.split()
        code = ProposedCode(ANATOMY, CodedConcept(value, "SCT", f"{level} vertebra"))
        for key in ("vertebrae", "vertebra"):
            table[" ".join(sorted((key, level.lower())))] = code
    return table


_TABLE = _entries()


def known_codes() -> tuple[CodedConcept, ...]:
    """Every code that may be proposed."""
    return tuple(dict.fromkeys(code.type for code in _TABLE.values()))
