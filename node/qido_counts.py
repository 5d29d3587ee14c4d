"""QIDO-RS: how many instances of a study does the PACS have (PS3.18 10.6)?

One search for the series of the study; Number of Series Related Instances (0020,1209) is asked
for by `includefield`, because servers leave it out otherwise. The URL carries the Study Instance
UID, as the standard has it, and is never logged.
"""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Mapping
from typing import Any

import httpx

from config.certificates import UnusableFile
from config.revocation_lists import ask_revocation_lists
from config.settings import SenderSettings
from node.errors import CountsUnavailable
from node.find_counts import PacsCounts, SeriesCount

_SERIES_UID, _MODALITY, _INSTANCES = "0020000E", "00080060", "00201209"
_PARAMETERS = {"includefield": _INSTANCES}
_MOST_BYTES = 16 << 20
_LONGEST_ANSWER = 4
_NO_CONTENT = 204


def ask_qido(sender: SenderSettings, study_instance_uid: str, *, timeout_s: float) -> PacsCounts:
    """Ask the DICOMweb server behind `sender`; of an unknown study it has no series.

    Raises:
        CountsUnavailable: no connection, no trust, no success, or no DICOM JSON.
    """
    content = qido_answer(sender, f"studies/{study_instance_uid}/series", _PARAMETERS, timeout_s)
    return PacsCounts() if content is None else _counts(content)


def qido_answer(
    sender: SenderSettings, path: str, parameters: Mapping[str, str], timeout_s: float
) -> bytes | None:
    """Search below the sender's `qido_url`; None: nothing was found.

    Raises:
        CountsUnavailable: no connection, no trust, or no success.
    """
    url = f"{sender.qido_url}/{path}"
    try:
        with (
            httpx.Client(verify=_trust(sender), timeout=timeout_s, trust_env=False) as client,
            client.stream("GET", url, params=parameters, headers=_headers(sender)) as answer,
        ):
            content = _bounded(answer, time.monotonic() + _LONGEST_ANSWER * timeout_s)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise CountsUnavailable(f"the QIDO-RS server failed: {type(error).__name__}") from None
    if answer.status_code == _NO_CONTENT:
        return None
    if answer.status_code != httpx.codes.OK:
        raise CountsUnavailable(f"the QIDO-RS server answered {answer.status_code}")
    return content


def _bounded(answer: httpx.Response, until: float) -> bytes:
    content = bytearray()
    for part in answer.iter_bytes():
        content += part
        if len(content) > _MOST_BYTES or time.monotonic() > until:
            raise CountsUnavailable("the QIDO-RS answer is too long, or too slow")
    return bytes(content)


def _trust(sender: SenderSettings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=sender.qido_ca_file)
        ask_revocation_lists(context, sender.qido_revocation_lists)
    except OSError:
        raise CountsUnavailable("qido_ca_file cannot be used") from None
    except UnusableFile:
        raise CountsUnavailable("qido_revocation_lists cannot be used") from None
    return context


def _headers(sender: SenderSettings) -> dict[str, str]:
    headers = {"Accept": "application/dicom+json"}
    if sender.qido_bearer_token is not None:
        headers["Authorization"] = f"Bearer {sender.qido_bearer_token.get_secret_value()}"
    return headers


def _counts(content: bytes) -> PacsCounts:
    try:
        found = json.loads(content)
        series = dict(_series(item) for item in found)
    except (ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError):
        raise CountsUnavailable("the QIDO-RS answer is no DICOM JSON") from None
    return PacsCounts(series=series)


def _series(item: Mapping[str, Any]) -> tuple[str, SeriesCount]:
    number = _value(item, _INSTANCES)
    count = int(number) if number is not None else None
    is_count = count is not None and count >= 0
    modality = str(_value(item, _MODALITY) or "")
    return str(item[_SERIES_UID]["Value"][0]), SeriesCount(modality, count if is_count else None)


def _value(item: Mapping[str, Any], tag: str) -> Any:
    values = item.get(tag, {}).get("Value") or [None]
    return values[0]
