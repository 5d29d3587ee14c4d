"""A classifier's answer as the node keeps it: an SR, and a heat map that it refers to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from pipelines.objects.identity import ResultIdentity
from pipelines.objects.report_sr import build_report
from pipelines.objects.secondary_capture import captured_picture
from pipelines.objects.uids import heat_uid
from pipelines.objects.write import write_object
from tests.unit.fhir.finished_jobs import classified
from tests.unit.pipelines_objects.kept_result import Kept
from tests.unit.pipelines_objects.result_requests import (
    ORIGIN,
    UIDS,
    label_map,
    report_request,
)
from tests.unit.pipelines_objects.synthetic_series import classic_series, write_series


def kept_explanation(folder: Path) -> Kept:
    source, judged = classic_series(), classified().measurements
    uid = heat_uid(UIDS.heat_series, 1, "image", 2)
    identity = ResultIdentity(uid, UIDS.heat_series, 9005, "AI classes heat map")
    sheet = Image.fromarray(np.zeros((24, 32, 3), dtype=np.uint8))
    picture = captured_picture(sheet, source, [2], identity, ORIGIN)
    write_object(picture, folder / "heat-01.dcm")
    explanations = {judged[0].tracking_uid: [picture]}
    request = report_request(
        source, label_map(), None, measurements=judged, explanations=explanations
    )
    write_object(build_report(request), folder / "sr.dcm")
    write_series(source, folder / "images")
    return Kept(folder, source, label_map())
