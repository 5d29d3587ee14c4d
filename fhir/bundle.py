"""One finished job as one transaction Bundle: Device, Observations, DiagnosticReport, Provenance.

Every entry but the Provenance is a conditional create on an identifier of our own, so that a
repeat finds what is there. The Bundle is a pure function of its arguments: the same job gives
the same bytes.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from pydantic import ValidationError

from config.settings import FhirContent
from fhir.codes import BundleType, HttpVerb
from fhir.device import build_device
from fhir.diagnostic_report import REPORT_ROLE, build_report
from fhir.errors import PermanentFhirError
from fhir.identifiers import if_none_exist, measurement_role
from fhir.imaging_study import build_imaging_study
from fhir.narrative import outcome_of
from fhir.observation import build_observation, qualified
from fhir.provenance import build_provenance
from fhir.references import References, inside_bundle
from fhir.report_context import (
    DEVICE_ROLE,
    IMAGING_STUDY_ROLE,
    ReportContext,
    brings_imaging_study,
    report_context,
)
from fhir.resources.R4B.bundle import Bundle, BundleEntry, BundleEntryRequest
from fhir.resources.R4B.device import Device
from fhir.resources.R4B.diagnosticreport import DiagnosticReport
from fhir.resources.R4B.domainresource import DomainResource
from fhir.resources.R4B.imagingstudy import ImagingStudy
from fhir.resources.R4B.observation import Observation
from storage.records import FinishedJob
from storage.telling import WITH_RESULT

PROVENANCE_ROLE: Final = "provenance"


def build_bundle(
    finished: FinishedJob,
    *,
    content: FhirContent,
    organization_name: str,
    timezone: str,
    references: References,
    issued: datetime,
    is_repeatable: bool = False,
    is_update: bool = False,
) -> Bundle:
    """The transaction that tells a finished job.

    `timezone` (IANA name) applies to studies without Timezone Offset From UTC; `issued` is when
    the job was finished (aware). Everything is created once, by identifier, but Provenance, which
    has none in R4: `is_repeatable` writes it under an id of ours, so that the whole Bundle may be
    posted again; the server must then take ids from clients (update as create). `is_update` writes
    report and observations as conditional updates: they were told otherwise before.

    Raises:
        PermanentFhirError: something in the job cannot be said in FHIR.
    """
    try:
        context = report_context(
            finished, content, references, organization_name, timezone=timezone, issued=issued
        )
        with_study = brings_imaging_study(content, references)
        sources = _source_entries(finished, content, context, with_study=with_study)
        told = _report_entries(finished, context, is_repeatable, is_update)
        entries = [*sources, *told]
        return Bundle(type=BundleType.TRANSACTION, entry=entries)
    except ValidationError as error:
        raise not_representable(error) from None


def not_representable(error: ValidationError) -> PermanentFhirError:
    """Where a model refused a value; its own text would quote the value."""
    places = sorted({".".join(map(str, each["loc"])) for each in error.errors()})
    text = f"the job cannot be told in FHIR R4: {error.title}: {', '.join(places)}"
    return PermanentFhirError("not_representable", text)


def finished_at(finished: FinishedJob) -> datetime:
    """When the job was finished; a report is issued then, however late it is delivered."""
    if finished.job.finished_at is None:
        raise PermanentFhirError("not_finished", "the job has no time of finishing")
    return finished.job.finished_at


def bundle_json(bundle: Bundle) -> str:
    """The Bundle as JSON text (R4 JSON format), the same for the same Bundle."""
    return str(bundle.model_dump_json())


def _source_entries(
    finished: FinishedJob, content: FhirContent, context: ReportContext, *, with_study: bool
) -> list[BundleEntry]:
    """What the report rests on: the algorithm that ran and, where the site wants it, the study."""
    identity = context.identity
    entries = []
    if outcome_of(finished) in WITH_RESULT:
        device = build_device(finished.algorithm, identity.system)
        entries.append(_conditional(device, identity.full_url(DEVICE_ROLE)))
    if with_study:
        study = build_imaging_study(finished, context, content.accession_system)
        entries.append(_conditional(study, identity.full_url(IMAGING_STUDY_ROLE)))
    return entries


def _report_entries(
    finished: FinishedJob, context: ReportContext, is_repeatable: bool, is_update: bool
) -> list[BundleEntry]:
    identity = context.identity
    conditional = _conditional_update if is_update else _conditional
    observations = [
        conditional(build_observation(*each, context), identity.full_url(measurement_role(each[0])))
        for each in qualified(finished.measurements)
    ]
    results = [inside_bundle("Observation", str(each.fullUrl)) for each in observations]
    report_url = identity.full_url(REPORT_ROLE)
    report = conditional(build_report(finished, context, results), report_url)
    targets = [inside_bundle("DiagnosticReport", report_url), *results]
    has_result = outcome_of(finished) in WITH_RESULT
    provenance = build_provenance(context, targets, is_by_device=has_result)
    place = _update if is_repeatable else _create
    return [*observations, report, place(provenance, identity.full_url(PROVENANCE_ROLE))]


def _conditional(
    resource: Device | ImagingStudy | Observation | DiagnosticReport, full_url: str
) -> BundleEntry:
    """A conditional create on the first identifier, which each of these has."""
    own = (resource.identifier or [])[0]
    return _create(resource, full_url, if_none_exist(own))


def _conditional_update(resource: Observation | DiagnosticReport, full_url: str) -> BundleEntry:
    """An update of what has the first identifier, or its creation."""
    kind, own = resource.get_resource_type(), (resource.identifier or [])[0]
    request = BundleEntryRequest(method=HttpVerb.PUT, url=f"{kind}?{if_none_exist(own)}")
    return BundleEntry(fullUrl=full_url, resource=resource, request=request)


def _update(resource: DomainResource, full_url: str) -> BundleEntry:
    """An update under the id that the full URL (`urn:uuid:`) holds."""
    own_id = full_url.rpartition(":")[2]
    named = resource.model_copy(update={"id": own_id})
    request = BundleEntryRequest(
        method=HttpVerb.PUT, url=f"{resource.get_resource_type()}/{own_id}"
    )
    return BundleEntry(fullUrl=full_url, resource=named, request=request)


def _create(resource: DomainResource, full_url: str, condition: str | None = None) -> BundleEntry:
    kind = resource.get_resource_type()
    request = BundleEntryRequest(method=HttpVerb.POST, url=kind, ifNoneExist=condition)
    return BundleEntry(fullUrl=full_url, resource=resource, request=request)
