"""The course of the demo: route every study, wait for what comes, route the first one again."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from node.demo.errors import NodeEnded
from node.demo.expectations import Repeat
from node.demo.node_process import AE_TITLE, NodeProcess
from node.demo.node_view import STAGES, NodeView, node_view
from node.demo.pacs import PacsStandIn
from node.demo.progress import DemoProgress
from node.demo.results import Collector, StudyResult
from node.demo.studies import DemoStudy
from storage.database import Database

TIMEOUT_S = 240.0
POLL_S = 0.2
REPEAT_WAIT_S = 2.5
"""Longer than the node waits before it looks at a study again."""

Views = Mapping[int, NodeView]


class Course:
    """Studies on their way from the PACS stand-in through one running node and back.

    What became of a study is collected in a thread of its own, as soon as it is settled.
    """

    def __init__(
        self,
        node: NodeProcess,
        db: Database,
        pacs: PacsStandIn,
        progress: DemoProgress,
        collector: Collector,
    ) -> None:
        self._node, self._db, self._pacs, self._progress = node, db, pacs, progress
        self._collector = collector
        self._sender = ThreadPoolExecutor(max_workers=1)
        self._collecting = ThreadPoolExecutor(max_workers=1)
        self._sent: list[Future[int]] = []
        self._collected: dict[int, Future[StudyResult]] = {}

    def run(self, studies: Sequence[DemoStudy], port: int) -> tuple[list[StudyResult], Repeat]:
        """Return what became of each study, and what sending the first one again added.

        Raises `RoutingFailed` or `NodeEnded`; studies that take too long are returned as they
        stand.
        """
        try:
            self._sent = [self._sender.submit(self._route, study, port) for study in studies]
            self._wait(studies, studies[:1])
            repeat = self._repeat(studies, port)
            for study, view in zip(studies, self._views(studies).values(), strict=True):
                self._take(study, view)
            return [self._collected[study.number].result() for study in studies], repeat
        finally:
            self._sender.shutdown(wait=False, cancel_futures=True)
            self._collecting.shutdown(wait=False, cancel_futures=True)

    def _repeat(self, studies: Sequence[DemoStudy], port: int) -> Repeat:
        """Send the first study once more, and compare when everything has come to rest."""
        before = self._counts(studies[0])
        again = self._sender.submit(self._again, studies[0], port)
        self._sent.append(again)
        self._wait(studies, studies)
        sent = again.result()
        time.sleep(REPEAT_WAIT_S)
        pairs = zip(before, self._counts(studies[0]), strict=True)
        return Repeat(sent, *pairs)

    def _route(self, study: DemoStudy, port: int) -> int:
        count = self._pacs.route(study.study_instance_uid, port, AE_TITLE)
        self._progress.reached(study, STAGES[:1])
        return count

    def _again(self, study: DemoStudy, port: int) -> int:
        count = self._pacs.route(study.study_instance_uid, port, AE_TITLE)
        self._progress.say(f"{study.number} {study.title}: sent again with its SEG and SR")
        return count

    def _wait(self, studies: Sequence[DemoStudy], awaited: Sequence[DemoStudy]) -> None:
        """Follow every study until the awaited ones are settled, or until the time is over."""
        while self._progress.elapsed_s < TIMEOUT_S:
            views = self._views(studies)
            for study in studies:
                self._progress.reached(study, views[study.number].stages)
                if views[study.number].is_settled:
                    self._take(study, views[study.number])
            for future in self._sent:
                if future.done():
                    future.result()
            if all(views[study.number].is_settled for study in awaited):
                return
            if self._node.returncode is not None:
                raise NodeEnded(f"code {self._node.returncode}; its log is {self._node.log}")
            time.sleep(POLL_S)

    def _take(self, study: DemoStudy, view: NodeView) -> None:
        if study.number not in self._collected:
            self._collected[study.number] = self._collecting.submit(
                self._collector.collect, study, view
            )

    def _views(self, studies: Sequence[DemoStudy]) -> Views:
        return {one.number: node_view(self._db, one.study_instance_uid) for one in studies}

    def _counts(self, study: DemoStudy) -> tuple[int, int, int, int]:
        uid = study.study_instance_uid
        view = node_view(self._db, uid)
        generation = view.study.generation if view.study else 0
        reports = len(self._collector.reports_about(uid))
        return len(view.jobs), self._pacs.received(uid), reports, generation
