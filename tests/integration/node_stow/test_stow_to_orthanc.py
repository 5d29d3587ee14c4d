"""A real DICOMweb server takes what the profile says, and asks for a login."""

from __future__ import annotations

import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from node.errors import TransientDelivery
from storage.sent_objects import UNCONFIRMED_KEY
from tests.integration.node_stow.stow_sending import Tries
from tests.peers.orthanc import DicomWeb, Orthanc
from tests.unit.pipelines_objects.synthetic_series import STUDY

pytestmark = pytest.mark.peer("orthanc", "orthanc_dicomweb")


def test_orthanc_keeps_what_its_answer_says_and_again_without_harm(tries: Tries) -> None:
    with Orthanc(web=DicomWeb()) as orthanc:
        sent = tries.send(orthanc.web_url)
        again = Tries(tries.kept).send(orthanc.web_url)
        taken = {tags["SOPInstanceUID"]: tags["Modality"] for tags in orthanc.instances(STUDY)}

    assert again == sent
    assert taken == {item.sop_instance_uid: item.kind.value for item in sent}
    assert UNCONFIRMED_KEY not in tries.receipt
    assert {tries.receipt[uid] for uid in taken} == {"0x0000"}
    assert {item.transfer_syntax_uid for item in sent} == {ExplicitVRLittleEndian}


def test_the_encoding_that_is_wanted_most_is_sent(tries: Tries) -> None:
    wanted = [DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian]
    with Orthanc(web=DicomWeb()) as orthanc:
        sent = tries.send(orthanc.web_url, transfer_syntaxes=wanted, empty_frames="keep")
        files = {tags["SOPInstanceUID"]: tags["ID"] for tags in orthanc.instances(STUDY)}

    assert {item.transfer_syntax_uid for item in sent} == {DeflatedExplicitVRLittleEndian}
    assert set(files) == {item.sop_instance_uid for item in sent}


def test_a_login_is_given_and_a_wrong_one_waits(tries: Tries) -> None:
    with Orthanc(web=DicomWeb(user="radnode", password="s3cret")) as orthanc:
        stranger = tries.failure(orthanc.web_url)
        wrong = tries.failure(orthanc.web_url, user="radnode", password="guess")
        sent = tries.send(orthanc.web_url, user="radnode", password="s3cret")

    assert [type(stranger), stranger.code] == [TransientDelivery, "http_401"]
    assert [type(wrong), wrong.code] == [TransientDelivery, "http_401"]
    assert len(sent) == 2
