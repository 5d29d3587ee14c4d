"""A PACS over HTTP learns of newer results as one by C-STORE does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from storage.database import Database
from storage.records import DeliveryState, Purpose
from tests.integration.node_receive.superseding_site import (
    A,
    B,
    Site,
    named,
    predecessors,
)
from tests.integration.node_stow.scripted_stow import StowScript
from tests.integration.node_stow.stow_sending import Tries, destination
from tests.migrated_database import migrated_database
from tests.peers.scripted_http import ScriptedHttpServer


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    database = migrated_database(tmp_path / "radnode.db")
    yield database
    database.close()


def _site(db: Database, tries: Tries, url: str, **profile: Any) -> Site:
    retry = {"first_s": 0.001, "longest_s": 0.001}
    pacs: Any = destination(url, retry=retry, **profile)
    return Site(db, tries.kept, pacs)


def test_the_new_report_names_the_one_that_it_replaces(db: Database, tries: Tries) -> None:
    script = StowScript()
    with ScriptedHttpServer(script) as server:
        site = _site(db, tries, server.base_url)
        for job in (A, B):
            delivered = site.run(job)
            site.deliver()

    first, second = (one for one in script.stored.values() if one.Modality == "SR")
    assert (predecessors(first), predecessors(second)) == ([], [str(first.SOPInstanceUID)])
    assert site.delivery(delivered).state is DeliveryState.CONFIRMED


def test_a_rejection_note_takes_back_what_is_there(db: Database, tries: Tries) -> None:
    script = StowScript()
    with ScriptedHttpServer(script) as server:
        site = _site(db, tries, server.base_url, superseded="rejection_note")
        older = site.run(A)
        site.deliver()
        sent = set(script.stored)
        site.run(B)
        site.deliver()

    (note,) = (one for one in script.stored.values() if one.Modality == "KO")
    assert named(note) == sent
    withdrawal = site.delivery(older)
    assert (withdrawal.purpose, withdrawal.state) == (Purpose.WITHDRAW, DeliveryState.CONFIRMED)


def test_only_what_may_be_there_of_half_a_result_is_taken_back(db: Database, tries: Tries) -> None:
    script = StowScript(lambda one: 0x0124 if one.Modality == "SR" else 0)
    with ScriptedHttpServer(script) as server:
        site = _site(db, tries, server.base_url, superseded="rejection_note", fallback=[])
        older = site.run(A)
        site.deliver()
        assert site.delivery(older).state is DeliveryState.DEAD
        half = set(script.stored)
        script.reasons = lambda _: 0
        site.run(B)
        site.deliver()

    (note,) = (one for one in script.stored.values() if one.Modality == "KO")
    assert len(half) == 1
    assert named(note) == half
