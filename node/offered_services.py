"""The DIMSE services that this node offers beside storage and verification."""

from __future__ import annotations

import os
from collections.abc import Callable

from config.settings import Settings
from node.commitment_reports import reported_sender
from node.commitment_results import CommitmentResults
from node.receive.availability_service import AvailabilityService
from node.receive.commitment_service import CommitmentService
from node.receive.performed_step_service import PerformedStepService
from node.receive.services import Service
from node.recovery import worker_prefix
from storage.database import Database


def offered_services(
    settings: Settings, db: Database, wake: Callable[[], None]
) -> tuple[Service, ...]:
    """Return the services; `wake` has completeness looked at at once.

    They are made in each receiver process, and may be called from all of its threads.
    """
    worker_id = f"{worker_prefix(settings.node.name)}{os.getpid()}"
    return (
        CommitmentService(
            db,
            wake,
            CommitmentResults(settings, db, worker_id=worker_id).take,
            lambda ae_title: reported_sender(settings, ae_title) is not None,
        ),
        AvailabilityService(db, wake),
        PerformedStepService(db, wake),
    )
