"""The algorithm as Device: one per digest of the model's files (AIR 6.5.3.1: a new model, a new
Device UID)."""

from __future__ import annotations

from fhir.clean_text import clean
from fhir.codes import DeviceNameType, DeviceStatus, from_dicom
from fhir.identifiers import dicom_uid
from fhir.resources.R4B.device import Device, DeviceDeviceName, DeviceVersion
from fhir.resources.R4B.identifier import Identifier
from storage.records import AlgorithmIdentity


def device_identifier(algorithm: AlgorithmIdentity, system: str) -> Identifier:
    """The identifier by which the Device is found again: our system and the model's digest."""
    return Identifier(system=system, value=algorithm.model_digest)


def build_device(algorithm: AlgorithmIdentity, system: str) -> Device:
    """The Device with the UID that SEG and SR carry as Device UID (0018,1002)."""
    name = clean(algorithm.name) or algorithm.model_digest
    version = clean(algorithm.version)
    return Device(
        identifier=[device_identifier(algorithm, system), dicom_uid(algorithm.device_uid)],
        status=DeviceStatus.ACTIVE,
        manufacturer=clean(algorithm.manufacturer),
        deviceName=[DeviceDeviceName(name=name, type=DeviceNameType.MODEL_NAME)],
        type=from_dicom(algorithm.family),
        version=[DeviceVersion(value=version)] if version else None,
    )
