"""A server whose answer names no objects is asked by QIDO-RS whether it keeps them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from config.settings import StowDestination
from node.confirmation import Confirmation
from node.find_objects import KnownObject
from node.stow.search import search_objects
from storage.database import Database
from storage.instance_files import InstanceFiles
from storage.overview import study_rows
from tests.integration.node_receive.running_listener import receive_settings
from tests.integration.node_stow.scripted_stow import StowScript
from tests.integration.node_stow.stow_sending import Tries, destination
from tests.integration.outage.hospital import BEGIN, Deliveries
from tests.migrated_database import migrated_database
from tests.peers.orthanc import DicomWeb, Orthanc
from tests.peers.scripted_http import Answer, Request, ScriptedHttpServer
from tests.unit.pipelines_objects.synthetic_series import STUDY
from tests.unit.storage.samples import WORKER


class Silent(StowScript):
    """Stores, says only that all went well, and answers searches by `found`."""

    def __init__(self) -> None:
        super().__init__(told=lambda _: b"")
        self.searches: list[Request] = []
        self.found: Callable[[Request], Answer] = self.listed

    def __call__(self, request: Request) -> Answer:
        if request.method == "POST":
            return super().__call__(request)
        self.searches.append(request)
        return self.found(request)

    def listed(self, request: Request) -> Answer:
        """What is stored of what is asked for; all of it where the parameters are not known."""
        (wanted,) = parse_qs(urlsplit(request.path).query)["SOPInstanceUID"]
        return _answer([uid for uid in self.stored if uid == wanted])

    def lists_all(self, _: Request) -> Answer:
        return _answer(list(self.stored))


def _answer(uids: list[str]) -> Answer:
    if not uids:
        return Answer(204, b"")
    items = [{"00080018": {"vr": "UI", "Value": [uid]}} for uid in uids]
    return Answer(200, json.dumps(items).encode())


@dataclass
class Site:
    """A delivery that such a server took, and who asks about it."""

    node: Deliveries
    server: Silent
    settings: StowDestination

    def ask(self) -> bool:
        """Ask once, when that is due."""
        settings = receive_settings().model_copy(update={"destinations": (self.settings,)})
        asking = Confirmation(
            self.settings, settings, self.node.db, worker_id=WORKER, clock=self.node.time
        )
        is_asked = asking.ask_next()
        self.node.time.now += timedelta(minutes=11)
        return is_asked

    @property
    def state(self) -> str:
        return self.node.states("pacs-web")[0]

    @property
    def unconfirmed(self) -> str:
        (study,) = study_rows(self.node.db, 10)
        return study.jobs[0].deliveries[0].unconfirmed


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    database = migrated_database(tmp_path / "radnode.sqlite")
    yield database
    database.close()


@pytest.fixture
def site(tmp_path: Path, db: Database) -> Iterator[Site]:
    script = Silent()
    with ScriptedHttpServer(script) as server:
        settings = destination(server.base_url, bearer_token="s3cret")
        node = Deliveries(db, InstanceFiles(tmp_path / "data"), (settings,))
        node.add_job(1)
        node.tick()
        yield Site(node, script, settings)


def test_all_that_the_server_lists_is_confirmed(site: Site) -> None:
    assert site.state == "sent"
    assert site.unconfirmed
    assert site.ask()
    assert (site.state, site.unconfirmed) == ("confirmed", "")
    (delivery,) = site.node.to("pacs-web")
    assert delivery.receipt["found"] == "2 of 2"
    assert {each.headers["Authorization"] for each in site.server.searches} == {"Bearer s3cret"}
    assert not site.ask()


def test_what_is_not_listed_stays_sent_and_is_asked_about_again(site: Site) -> None:
    lost = site.server.stored.popitem()
    assert site.ask()
    assert (site.state, site.unconfirmed) == ("sent", "not_listed")
    site.server.stored[lost[0]] = lost[1]
    assert site.ask()
    assert site.state == "confirmed"


def test_a_server_that_ignores_parameters_proves_only_what_it_lists(site: Site) -> None:
    site.server.found = site.server.lists_all
    lost = site.server.stored.popitem()
    site.ask()
    assert site.state == "sent"
    site.server.stored[lost[0]] = lost[1]
    site.ask()
    assert site.state == "confirmed"


@pytest.mark.parametrize(
    "answer",
    [
        Answer(404, b""),
        Answer(200, b"<html>Please log in</html>"),
        Answer(200, b'{"00080018": 1}'),
        Answer(200, b'["00080018"]'),
        Answer(200, b"[" * 100_000),
        Answer(302, b"", {"Location": "/elsewhere"}),
        Answer(500, b""),
    ],
    ids=["404", "a page", "no list", "no data sets", "deep", "elsewhere", "500"],
)
def test_an_answer_that_tells_nothing_confirms_nothing(site: Site, answer: Answer) -> None:
    site.server.found = lambda _: answer
    assert site.ask()
    assert (site.state, site.unconfirmed) == ("sent", "not_named")
    site.server.found = site.server.listed
    site.ask()
    assert site.state == "confirmed"


def test_nobody_is_asked_for_ever(site: Site) -> None:
    site.server.stored.clear()
    site.ask()
    site.node.time.now = BEGIN + timedelta(days=8)
    site.ask()
    assert (site.state, site.unconfirmed) == ("sent", "gave_up")
    assert not site.ask()


@pytest.mark.peer("orthanc", "orthanc_dicomweb")
def test_orthanc_lists_what_it_keeps_and_nothing_else(tries: Tries) -> None:
    with Orthanc(web=DicomWeb(user="radnode", password="s3cret")) as orthanc:
        login = {"user": "radnode", "password": "s3cret"}
        sent = tries.send(orthanc.web_url, **login)
        known = [
            KnownObject(STUDY, item.series_instance_uid, item.sop_instance_uid) for item in sent
        ]
        other = KnownObject(STUDY, known[0].series_instance_uid, "1.2.3")
        strange = KnownObject("1.2.4", "1.2.5", "1.2.6")
        settings = destination(orthanc.web_url, **login)
        found = search_objects(settings, [*known, other, strange])

    assert found == {item.sop_instance_uid for item in sent}
