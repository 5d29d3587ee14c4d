"""A finished job handed to a server over HTTP, as the outbox does it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from config.settings import NodeSettings, StowDestination
from fhir.progress import Progress
from node.dispatch import sender_for
from node.errors import DeliveryError
from storage.instance_files import InstanceFiles
from storage.records import FinishedJob, JobState
from storage.sent_objects import SentObject, sent_objects
from tests.integration.node_receive.finished_result import finished_of
from tests.unit.pipelines_objects.kept_result import Kept


def destination(url: str, **profile: Any) -> StowDestination:
    known = {"type": "stow", "name": "pacs-web", "url": url, "timeout_s": 20}
    return StowDestination.model_validate({**known, **profile})


@dataclass
class Tries:
    """Tries at one delivery; each knows what the one before has reached."""

    kept: Kept
    receipt: Mapping[str, str] = field(default_factory=dict)

    def send(self, url: str, **profile: Any) -> tuple[SentObject, ...]:
        return self._sent(url, finished_of(self.kept), **profile)

    def take_back(self, url: str, **profile: Any) -> tuple[SentObject, ...]:
        """Tell that a newer result has replaced this one."""
        withdrawn = replace(finished_of(self.kept), withdrawn_at=datetime(2026, 5, 6, tzinfo=UTC))
        return self._sent(url, withdrawn, **profile)

    def tell_refusal(self, url: str, **profile: Any) -> tuple[SentObject, ...]:
        """Tell that a pipeline has refused the study."""
        finished = finished_of(self.kept)
        job = replace(
            finished.job,
            state=JobState.REFUSED,
            outcome=None,
            reason_code="missing_slices",
            reason_text="2 are missing",
        )
        return self._sent(url, replace(finished, job=job, objects=()), **profile)

    def _sent(self, url: str, finished: FinishedJob, **profile: Any) -> tuple[SentObject, ...]:
        sender = sender_for(
            destination(url, **profile), NodeSettings(), InstanceFiles(self.kept.folder)
        )
        self.receipt = sender.send(finished, Progress(self.receipt, self._keep))
        return sent_objects(self.receipt)

    def failure(self, url: str, **profile: Any) -> DeliveryError:
        try:
            self.send(url, **profile)
        except DeliveryError as error:
            return error
        raise AssertionError("it was delivered")

    def _keep(self, receipt: Mapping[str, str]) -> None:
        self.receipt = receipt
