"""nnU-Net v2 result folders: what they say, and the same answer as nnU-Net's own predictor."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipelines.errors import InvalidBundle
from pipelines.inference import infer
from pipelines.model_loading import load_model
from pipelines.model_source import ModelKind, kind_of
from pipelines.nnunet_files import nnunet_metadata
from pipelines.preprocessing import preprocessed
from pipelines.registry import register
from pipelines.restore import restored_label_map
from tests.unit.pipelines.definitions import definition
from tests.unit.pipelines.label_map_cases import axial
from tests.unit.pipelines.nnunet_folder import LABELS, plans, write_nnunet

CPU = torch.device("cpu")


def written(folder: Path, **dataset: Any) -> Path:
    """The files that are read without nnU-Net."""
    (folder / "fold_0").mkdir(parents=True)
    (folder / "fold_0" / "checkpoint_final.pth").write_bytes(b"")
    (folder / "plans.json").write_text(json.dumps(plans()))
    values = {"channel_names": {"0": "CT"}, "labels": LABELS, **dataset}
    (folder / "dataset.json").write_text(json.dumps(values))
    return folder


def test_a_result_folder_says_its_channels_and_labels(tmp_path: Path) -> None:
    folder = written(tmp_path / "two_levels", channel_names={"0": "T1", "1": "FLAIR"})
    metadata = nnunet_metadata(folder)
    assert kind_of(folder) is ModelKind.NNUNET
    assert metadata.channels == {0: "background", 1: "low", 2: "high"}
    assert metadata.channel_names == ("T1", "FLAIR")


def test_regions_have_the_values_that_are_written_for_them(tmp_path: Path) -> None:
    folder = written(
        tmp_path / "two_levels",
        labels={"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": 3},
        regions_class_order=[1, 2, 3],
    )
    assert nnunet_metadata(folder).channels == {
        0: "background",
        1: "whole",
        2: "core",
        3: "enhancing",
    }


def test_a_folder_without_a_fold_is_told(tmp_path: Path) -> None:
    folder = written(tmp_path / "two_levels")
    (folder / "fold_0" / "checkpoint_final.pth").unlink()
    with pytest.raises(InvalidBundle, match="fold_"):
        nnunet_metadata(folder)


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path: Path) -> None:
    folder = written(tmp_path / "two_levels")
    torch.save({"network_weights": Path.touch}, folder / "fold_0" / "checkpoint_final.pth")
    with pytest.raises(InvalidBundle, match=r"checkpoint_final\.pth"):
        load_model(register(definition(), tmp_path), CPU)


def test_the_answer_is_that_of_nnunets_own_predictor(tmp_path: Path) -> None:
    pytest.importorskip("nnunetv2")
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    folder = write_nnunet(tmp_path / "two_levels")
    voxels = np.random.default_rng(0).normal(100, 60, (12, 22, 26))
    source = axial(voxels, spacing_mm=(3.0, 1.2, 1.1))
    bundle = load_model(register(definition(), tmp_path), CPU)
    data = preprocessed({"image": source}, bundle)
    found = restored_label_map(data, infer(data, bundle), source, bundle)

    predictor = nnUNetPredictor(device=CPU, allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(folder), ("0",))
    own = predictor.predict_single_npy_array(
        source.voxels[None], {"spacing": list(source.spacing_mm)}, None, None, False
    )
    assert set(np.unique(own)) > {0}
    assert np.array_equal(np.asarray(found), own)
