"""Who made the report: the algorithm, on behalf of the site, from the imaging study."""

from __future__ import annotations

from collections.abc import Sequence

from fhir.codes import ProvenanceEntityRole, System, asserted_by_ai, concept
from fhir.report_context import ReportContext
from fhir.resources.R4B.codeableconcept import CodeableConcept
from fhir.resources.R4B.provenance import Provenance, ProvenanceAgent, ProvenanceEntity
from fhir.resources.R4B.reference import Reference


def build_provenance(
    context: ReportContext, targets: Sequence[Reference], *, is_by_device: bool = True
) -> Provenance:
    """The Provenance of the report and its observations.

    R4 gives Provenance no identifier, so it cannot be created conditionally: the client sends it
    only together with a report that the server does not have yet. `onBehalfOf` is there because
    the agent is a Device (US Core invariant provenance-1); where no algorithm has run, not
    `is_by_device`, the site itself is the agent.
    """
    return Provenance(
        target=list(targets),
        recorded=context.issued,
        reason=[CodeableConcept(coding=[asserted_by_ai()])] if is_by_device else None,
        agent=[
            ProvenanceAgent(
                type=concept(System.PARTICIPANT_TYPE, "author", "Author"),
                who=context.device if is_by_device else context.performer,
                onBehalfOf=context.performer if is_by_device else None,
            )
        ],
        entity=_entities(context.imaging_study),
    )


def _entities(imaging_study: Reference | None) -> list[ProvenanceEntity] | None:
    if imaging_study is None:
        return None
    return [ProvenanceEntity(role=ProvenanceEntityRole.SOURCE, what=imaging_study)]
