"""The four sequences of a tumour model, chosen from one real study by their headers."""

from __future__ import annotations

from pipelines.common_grid import on_one_grid
from pipelines.reading_policy import ReadingPolicy
from pipelines.selection import Selection, select_inputs
from pipelines.series_volume import SeriesVolume, read_series
from pipelines.study_folder import series_of_folder
from tests.peers.real_images import FOLDER
from tests.unit.pipelines.definitions import definition

FOLDER_OF_ROLE = {
    "t1": "26401-T1prereg-52906",
    "t1c": "11-T1post-18670",
    "t2": "37830-T2reg-78532",
    "flair": "36468-FLAIRreg-58706",
}
PATTERNS = {"t1": "T1.*pre", "t1c": "T1.*post", "t2": "T2", "flair": "FLAIR"}


def four_roles() -> dict[str, SeriesVolume]:
    """Each role's volume, on the grid of the first; another choice is an AssertionError."""
    inputs = {
        role: {
            "where": [
                {"tag": "Modality", "equals": "MR"},
                {"tag": "SeriesDescription", "matches": f"(?i){pattern}"},
            ],
            "slices": {"min": 10},
        }
        for role, pattern in PATTERNS.items()
    }
    wanted = definition(inputs=inputs)
    series = series_of_folder(FOLDER / "mr_pgbm_dev" / "Study3")
    selection = select_inputs(wanted, [item.candidate for item in series])
    assert isinstance(selection, Selection), selection
    paths = {id(item.candidate): item.paths for item in series}
    volumes = {}
    for role, chosen in selection.inputs.items():
        files = paths[id(chosen.candidate)]
        assert files[0].parent.name == FOLDER_OF_ROLE[role], role
        volumes[role] = read_series(files, ReadingPolicy.of(wanted.inputs[role]))
    return on_one_grid(volumes)
