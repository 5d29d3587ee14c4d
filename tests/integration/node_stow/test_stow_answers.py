"""What is stored is never sent again, what is refused gives way, and what fails waits visibly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pydicom.uid import (
    ExplicitVRLittleEndian,
    RLELossless,
    SegmentationStorage,
)

from node.errors import FormRefused, PermanentDelivery, TransientDelivery
from storage.sent_objects import FALLBACK_KEY, UNCONFIRMED_KEY
from tests.integration.node_receive.kept_pages import kept_with_pages
from tests.integration.node_stow.scripted_serving import Serve, refusing, serve
from tests.integration.node_stow.scripted_stow import StowScript, as_json, as_xml
from tests.integration.node_stow.stow_sending import Tries
from tests.peers.scripted_http import Answer, Request

__all__ = ["serve"]


LABEL_MAP = "1.2.840.10008.5.1.4.1.1.66.7"


@pytest.mark.parametrize("told", [as_json, as_xml], ids=["json", "xml"])
def test_an_answer_that_names_all_of_ours_proves_it(
    tries: Tries, serve: Serve, told: Callable[..., bytes]
) -> None:
    script = StowScript(told=told)
    server = serve(script)
    sent = tries.send(server.base_url)

    assert script.modalities == [["SEG"], ["SR"]]
    assert UNCONFIRMED_KEY not in tries.receipt
    assert {tries.receipt[item.sop_instance_uid] for item in sent} == {"0x0000"}
    accepted = server.requests[0].headers["Accept"]
    assert accepted.startswith("application/dicom+json")


def test_a_warning_is_stored_and_on_record(tries: Tries, serve: Serve) -> None:
    sent = tries.send(serve(StowScript(refusing("SR", 0xB000))).base_url)
    assert [tries.receipt[item.sop_instance_uid] for item in sent] == ["0x0000", "0xB000"]


def test_what_is_there_already_is_no_failure(tries: Tries, serve: Serve) -> None:
    sent = tries.send(serve(StowScript(lambda _: 0x0111)).base_url)
    assert [tries.receipt[item.sop_instance_uid] for item in sent] == ["0x0111", "0x0111"]


@pytest.mark.parametrize("told", [as_json, as_xml], ids=["json", "xml"])
def test_only_what_is_not_stored_is_sent_again(
    tries: Tries, serve: Serve, told: Callable[..., bytes]
) -> None:
    script = StowScript(refusing("SR", 0xA700), told=told)
    url = serve(script).base_url
    busy = tries.failure(url)
    script.reasons = lambda _: 0
    sent = tries.send(url)

    assert (type(busy), busy.code) == (TransientDelivery, "status_a700")
    assert script.modalities == [["SEG"], ["SR"], ["SR"]]
    assert set(script.stored) == {item.sop_instance_uid for item in sent}
    assert UNCONFIRMED_KEY not in tries.receipt


def test_what_the_answer_does_not_name_is_sent_again(tries: Tries, serve: Serve) -> None:
    script = StowScript(told=lambda outcome: as_json(dict(list(outcome.items())[:1])))
    url = serve(script).base_url
    unnamed = tries.failure(url, most_segments=1)
    script.told = as_json
    tries.send(url, most_segments=1)

    assert (type(unnamed), unnamed.code) == (TransientDelivery, "not_named")
    assert script.modalities == [["SEG", "SEG"], ["SEG"], ["SR"]]


@pytest.mark.parametrize("reason", [0x0122, 0xA9FF, 0xC122], ids=hex)
def test_a_label_map_that_is_refused_gives_way_to_binary(
    tries: Tries, serve: Serve, reason: int
) -> None:
    script = StowScript(lambda one: reason if one.SOPClassUID == LABEL_MAP else 0)
    sent = tries.send(serve(script).base_url, segmentation="labelmap")

    assert sent[0].sop_class_uid == SegmentationStorage
    assert script.modalities == [["SEG"], ["SEG"], ["SR"]]
    report = script.stored[sent[1].sop_instance_uid]
    assert sent[0].sop_instance_uid in str(report)


def test_a_part_that_is_refused_after_another_was_taken_is_for_a_person(
    tries: Tries, serve: Serve
) -> None:
    script = StowScript()
    script.reasons = lambda one: 0x0000 if one is script.posts[0][0] else 0xA900
    failure = tries.failure(serve(script).base_url, segmentation="labelmap", most_segments=1)

    assert (type(failure), failure.code) == (PermanentDelivery, "status_a900")
    assert "a part of the result is there already" in failure.text
    assert [one.SOPClassUID for one in script.stored.values()] == [LABEL_MAP]
    assert script.modalities == [["SEG", "SEG"]]


def test_an_encoding_that_is_no_media_type_there_gives_way_to_the_next(
    tries: Tries, serve: Serve
) -> None:
    script = StowScript()

    def answer(request: Request) -> Answer:
        is_rle = RLELossless.encode() in request.body
        return Answer(415, b"") if is_rle else script(request)

    wanted = [RLELossless, ExplicitVRLittleEndian]
    sent = tries.send(serve(answer).base_url, segmentation="labelmap", transfer_syntaxes=wanted)
    assert (sent[0].encoding, sent[0].transfer_syntax_uid) == ("LABELMAP", ExplicitVRLittleEndian)


def test_a_form_that_is_there_is_gone_on_with(tries: Tries, serve: Serve) -> None:
    refuse_label_maps = StowScript(
        lambda one: {"SEG": 0x0122 * (one.SOPClassUID == LABEL_MAP), "SR": 0xA700}[one.Modality]
    )
    busy = tries.failure(serve(refuse_label_maps).base_url, segmentation="labelmap")
    takes_all = StowScript()
    sent = tries.send(serve(takes_all).base_url, segmentation="labelmap")

    assert isinstance(busy, TransientDelivery)
    assert takes_all.modalities == [["SR"]]
    assert sent[0].sop_class_uid == SegmentationStorage


def test_a_server_that_takes_no_form_is_told_with_its_reason(tries: Tries, serve: Serve) -> None:
    script = StowScript(refusing("SEG", 0x0122))
    failure = tries.failure(serve(script).base_url, segmentation="labelmap")

    assert isinstance(failure, FormRefused)
    assert "Segmentation Storage (0x0122: SOP class not supported" in failure.text
    assert script.modalities == [["SEG"], ["SEG"]]


def _with_pages(tries: Tries) -> Tries:
    folder = tries.kept.folder.with_name("with_pages")
    folder.mkdir()
    return Tries(kept_with_pages(folder))


def test_a_server_without_segmentations_gets_the_rest_each_if_it_takes_it(
    tries: Tries, serve: Serve
) -> None:
    tries = _with_pages(tries)
    script = StowScript(lambda one: {"SEG": 0x0122, "DOC": 0x0124}.get(one.Modality, 0))
    sent = tries.send(serve(script).base_url, segmentation="labelmap")

    assert sorted(item.kind.name for item in sent) == ["SC", "SR"]
    assert set(script.stored) == {item.sop_instance_uid for item in sent}
    assert "Segmentation Storage (0x0122" in tries.receipt[FALLBACK_KEY]
    assert UNCONFIRMED_KEY not in tries.receipt
    refused = [str(one.SOPInstanceUID) for post in script.posts for one in post[:1]][:2]
    report = next(one for one in script.stored.values() if one.Modality == "SR")
    assert [uid for uid in refused if uid in str(report)] == []


def test_a_fallback_that_is_cut_short_is_gone_on_with(tries: Tries, serve: Serve) -> None:
    tries = _with_pages(tries)
    script = StowScript(lambda one: {"SEG": 0xA900, "OT": 0xA700}.get(one.Modality, 0))
    url = serve(script).base_url
    busy = tries.failure(url)
    script.reasons = refusing("SEG", 0xA900)
    sent = tries.send(url)

    assert (type(busy), busy.code) == (TransientDelivery, "status_a700")
    assert sorted(item.kind.name for item in sent) == ["PDF", "SC", "SR"]
    assert [post.count("SR") for post in script.modalities] == [0, 1, 0, 0, 0, 0]


def test_a_success_that_names_nothing_is_no_proof(tries: Tries, serve: Serve) -> None:
    sent = tries.send(serve(lambda _: Answer(200, b"")).base_url)
    assert UNCONFIRMED_KEY in tries.receipt
    assert {tries.receipt[item.sop_instance_uid] for item in sent} == {"http 200"}


def test_a_login_page_is_no_success(tries: Tries, serve: Serve) -> None:
    page = Answer(200, b"<!DOCTYPE html><html><body>Please log in</body></html>")
    failure = tries.failure(serve(lambda _: page).base_url)
    assert (type(failure), failure.code) == (TransientDelivery, "web_page")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, PermanentDelivery),
        (401, TransientDelivery),
        (403, TransientDelivery),
        (404, TransientDelivery),
        (408, TransientDelivery),
        (409, PermanentDelivery),
        (413, PermanentDelivery),
        (415, FormRefused),
        (422, PermanentDelivery),
        (429, TransientDelivery),
        (500, TransientDelivery),
        (503, TransientDelivery),
    ],
)
def test_a_status_alone_says_whether_another_try_may_help(
    tries: Tries, serve: Serve, status: int, kind: type
) -> None:
    server = serve(lambda _: Answer(status, b"", {"Retry-After": "77"}))
    failure = tries.failure(server.base_url)

    assert (type(failure), failure.code) == (kind, f"http_{status}")
    if isinstance(failure, TransientDelivery):
        assert failure.retry_after_s == 77


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_carries_nothing_elsewhere(tries: Tries, serve: Serve, status: int) -> None:
    elsewhere = serve(lambda _: Answer())
    answer = Answer(status, b"", {"Location": f"{elsewhere.base_url}/studies"})
    server = serve(lambda _: answer)
    failure = tries.failure(server.base_url, bearer_token="s3cret")

    assert (type(failure), failure.code) == (TransientDelivery, f"http_{status}")
    assert server.requests[0].headers["Authorization"] == "Bearer s3cret"
    assert elsewhere.requests == []


def test_a_body_that_is_too_large_goes_in_parts(tries: Tries, serve: Serve) -> None:
    script = StowScript()

    def answer(request: Request) -> Answer:
        is_large = request.body.count(b"Content-Type: application/dicom") > 1
        return Answer(413, b"") if is_large else script(request)

    sent = tries.send(serve(answer).base_url, most_segments=1)
    assert script.modalities == [["SEG"], ["SEG"], ["SR"]]
    assert len(sent) == 3


def test_no_text_or_url_names_the_patient(tries: Tries, serve: Serve) -> None:
    told: Any = b'{"00081198": "Doe^Jane"}'
    server = serve(lambda _: Answer(400, told, {"X-Patient": "Doe^Jane"}))
    failure = tries.failure(server.base_url)
    assert "Doe" not in failure.text
    assert [request.path for request in server.requests] == ["/fhir/studies"]
