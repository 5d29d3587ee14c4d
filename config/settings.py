"""Typed settings: frozen values, read once by `config.load` and handed down.

Every key stands, with meaning, unit, default and consequence, in `config/node.example.yaml`.
Names carry their unit (`_s` seconds, `_mib` 2**20 bytes, `_days`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, SecretStr, StringConstraints, field_validator

from config.object_profile import ObjectProfile
from config.retry_settings import RetrySettings as RetrySettings
from config.setting_types import (
    AeTitle,
    Device,
    Durability,
    HttpUrl,
    Network,
    Oid,
    Outcomes,
    Port,
    Seconds,
)
from config.setting_types import Frozen as Frozen
from config.setting_types import Name as Name
from config.setting_types import is_ae_title as is_ae_title
from config.sop_classes import SopClasses
from config.stow_settings import StowDestination as StowDestination
from config.tls_settings import ClientTls, Fingerprint, ServerTls
from config.web_settings import WebSettings


class NodeSettings(Frozen):
    """Who this node is and where it keeps its data."""

    name: Name = "radnode"
    ae_title: AeTitle = "RADNODE"
    institution_name: str = ""
    organization_name: str = "radnode site"
    data_dir: Path = Path("radnode-data")
    timezone: str = "UTC"

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError("write an IANA time zone such as Europe/Berlin") from error
        return value


class StorageSettings(Frozen):
    """Database, disk watermark and retention."""

    database_url: SecretStr | None = None
    durability: Durability = "fsync"
    disk_low_mib: Annotated[int, Field(ge=0)] = 1024
    incoming_max_age_s: Seconds = 3600
    retention_days: Annotated[int, Field(ge=0)] = 30
    audit_retention_days: Annotated[int, Field(ge=0)] = 365


class SenderSettings(Frozen):
    """One system that may send to us, what it may send, and how it is asked and reported to."""

    ae_title: AeTitle
    addresses: tuple[Network, ...] = ()
    certificate_fingerprints: tuple[Fingerprint, ...] = ()
    certificate_names: tuple[str, ...] = ()
    priority: Literal["stat", "high", "routine"] = "routine"
    sop_classes: tuple[SopClasses, ...] = ()
    pipelines: tuple[Name, ...] | None = None
    max_associations: Annotated[int, Field(ge=1, le=1000)] | None = None
    max_instances_per_s: Annotated[float, Field(gt=0)] | None = None
    max_mib_per_s: Annotated[float, Field(gt=0)] | None = None
    max_instance_mib: Annotated[int, Field(ge=1)] = 4096
    find_host: str | None = None
    find_port: Port | None = None
    find_ae_title: AeTitle | None = None
    find_tls: ClientTls = ClientTls()
    qido_url: HttpUrl | None = None
    qido_bearer_token: SecretStr | None = None
    qido_ca_file: Path | None = None
    qido_revocation_lists: tuple[Path, ...] = ()
    commitment_host: str | None = None
    commitment_port: Port | None = None
    commitment_tls: ClientTls = ClientTls()
    identity_changed: Literal["hold", "rebuild", "ignore"] = "hold"
    identity_recheck_h: Annotated[int, Field(ge=0, le=1024)] = 64
    rejection_notes: Literal["own_studies", "all_studies", "ignored"] = "own_studies"
    rejected_results: Literal["withdraw", "stand"] = "withdraw"


class ReceiveSettings(Frozen):
    """The C-STORE and C-ECHO listener."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] | None = 11112
    processes: Annotated[int, Field(ge=0, le=64)] = 0
    max_pdu_bytes: Annotated[int, Field(ge=4096, le=1 << 20)] = 131072
    max_associations: Annotated[int, Field(ge=1, le=1000)] = 32
    network_timeout_s: Seconds = 60
    dimse_timeout_s: Seconds = 60
    require_called_ae_title: bool = True
    allow_any_sender: bool = False
    tls: ServerTls = ServerTls()
    senders: tuple[SenderSettings, ...] = ()


class CompletenessSettings(Frozen):
    """When a study is taken to be complete."""

    quiet_time_s: Annotated[float, Field(ge=0)] = 10
    quiet_time_after_abort_s: Annotated[float, Field(ge=0)] = 60
    quiet_time_without_gaps_s: Annotated[float, Field(ge=0)] = 3
    list_wait_s: Annotated[float, Field(ge=0)] = 600
    find_timeout_s: Seconds = 5
    check_interval_s: Seconds = 0.2


class WorkerSettings(Frozen):
    """The process that runs models."""

    enabled: bool = True
    device: Device = "auto"
    cpu_threads: Annotated[int, Field(ge=0)] = 0
    poll_interval_s: Seconds = 0.5
    lease_s: Seconds = 60
    heartbeat_s: Seconds = 15
    max_attempts: Annotated[int, Field(ge=1, le=100)] = 3
    retry_delay_s: Seconds = 30
    time_limit_s: Seconds = 3600
    model_memory_mib: Annotated[int, Field(ge=0)] = 8192
    extra_objects: tuple[Literal["PDF", "SC", "KOS", "PR", "PM"], ...] = ()
    report_fonts: tuple[Path, ...] = ()


class PipelineSettings(Frozen):
    """Which pipelines are offered and where definitions and model bundles lie."""

    enabled: tuple[Name, ...] = ("hippocampus_mr",)
    definitions_dir: Path | None = None
    bundles_dir: Path | None = None


class DicomDestination(ObjectProfile):
    """A PACS that gets SEG and SR by C-STORE."""

    type: Literal["dicom"]
    name: Name
    host: str
    port: Port
    ae_title: AeTitle
    calling_ae_title: AeTitle | None = None
    tls: ClientTls = ClientTls()
    timeout_s: Seconds = 30
    confirm: Literal["commitment", "find", "none"] = "commitment"
    confirm_timeout_s: Seconds = 600
    outcomes: Outcomes = ("findings", "no_findings")
    retry: RetrySettings = RetrySettings()


class PatientSystem(Frozen):
    """Maps an issuer of Patient ID (0010,0021) to the FHIR identifier system of the EHR."""

    issuer: str = ""
    system: str


class FhirContent(Frozen):
    """What the FHIR report says about the site; shared by server and folder destinations."""

    identifier_system: str = "urn:radnode:result"
    patient_systems: tuple[PatientSystem, ...] = ()
    accession_system: str | None = None
    imaging_study: Literal["reference", "create", "omit"] = "reference"
    outcomes: Outcomes = ("findings", "no_findings")


class SmartBackend(Frozen):
    """SMART Backend Services: tokens for a client id that is proved by a key of ours."""

    client_id: str | None = None
    key_files: tuple[Path, ...] = ()
    token_url: str | None = None
    scope: str = (
        "system/DiagnosticReport.crus system/Observation.crus system/Device.crus "
        "system/Provenance.crus system/ImagingStudy.crus system/DocumentReference.crus "
        "system/Patient.rs system/ServiceRequest.rs"
    )


class FhirDestination(FhirContent):
    """An EHR that takes a FHIR R4 transaction."""

    type: Literal["fhir"]
    name: Name
    base_url: HttpUrl
    mode: Literal["transaction", "sequential", "documentreference"] = "transaction"
    most_entries: Annotated[int, Field(ge=2)] | None = None
    bearer_token: SecretStr | None = None
    smart: SmartBackend = SmartBackend()
    ca_file: Path | None = None
    revocation_lists: tuple[Path, ...] = ()
    certificate_file: Path | None = None
    key_file: Path | None = None
    timeout_s: Seconds = 30
    wait_for_dicom_s: Annotated[float, Field(ge=0)] = 300
    retry: RetrySettings = RetrySettings()


class FolderDestination(FhirContent):
    """A folder that gets the FHIR Bundle as a JSON file: the default when there is no EHR."""

    type: Literal["folder"]
    name: Name
    folder: Path = Path("fhir-out")
    most_entries: Annotated[int, Field(ge=2)] | None = None
    wait_for_dicom_s: Annotated[float, Field(ge=0)] = 300
    retry: RetrySettings = RetrySettings()


class PatientAuthority(Frozen):
    """Maps an issuer of Patient ID (0010,0021) to the assigning authority of HL7 v2 (CX-4)."""

    issuer: str = ""
    namespace: Annotated[str, StringConstraints(min_length=1, max_length=20)]
    oid: Oid | None = None


class Hl7Service(Frozen):
    """What is reported (OBR-4), for studies without a procedure code of their own."""

    code: str = "18748-4"
    text: str = "Diagnostic imaging study"
    coding_system: str = "LN"


class Hl7Destination(Frozen):
    """A RIS or reporting system that takes HL7 v2.5.1 ORU^R01 over MLLP."""

    type: Literal["hl7"]
    name: Name
    host: str
    port: Port
    tls: ClientTls = ClientTls()
    timeout_s: Seconds = 30
    sending_application: str = "RADNODE"
    sending_facility: str = ""
    receiving_application: str = ""
    receiving_facility: str = ""
    processing_id: Literal["P", "T", "D"] = "P"
    character_set: Literal["UNICODE UTF-8", "8859/1"] = "UNICODE UTF-8"
    service: Hl7Service = Hl7Service()
    patient_authorities: tuple[PatientAuthority, ...] = ()
    include_pdf: bool = False
    outcomes: Outcomes = ("findings", "no_findings")
    wait_for_dicom_s: Annotated[float, Field(ge=0)] = 300
    retry: RetrySettings = RetrySettings()


Destination = Annotated[
    DicomDestination | StowDestination | FhirDestination | FolderDestination | Hl7Destination,
    Field(discriminator="type"),
]
PacsDestination = DicomDestination | StowDestination
"""Where DICOM objects go, by C-STORE or over HTTP."""


class LogSettings(Frozen):
    """Structured logs on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["json", "console"] = "json"


class Settings(Frozen):
    """Everything that may be set; relative paths are already resolved by the loader."""

    node: NodeSettings = NodeSettings()
    storage: StorageSettings = StorageSettings()
    receive: ReceiveSettings = ReceiveSettings()
    completeness: CompletenessSettings = CompletenessSettings()
    worker: WorkerSettings = WorkerSettings()
    pipelines: PipelineSettings = PipelineSettings()
    destinations: tuple[Destination, ...] = (FolderDestination(type="folder", name="fhir-folder"),)
    web: WebSettings = WebSettings()
    log: LogSettings = LogSettings()
