"""nnU-Net v2 results made ready to run, with nnU-Net's own preprocessing, network and export.

The package `nnunetv2` is optional (`radnode[nnunet]`). Its own loader unpickles checkpoints, which
can run code, so that checkpoints are read here as tensors and plain values only.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Orientation

from pipelines.bundle import LoadedBundle
from pipelines.bundle_chain import Chain
from pipelines.bundle_macros import BROKEN_CONFIG, invalid
from pipelines.bundle_weights import BROKEN_WEIGHTS
from pipelines.errors import InvalidBundle
from pipelines.nnunet_files import DATASET, IMAGE, PLANS, folds, nnunet_metadata, read_json

PRED = "pred"
STATE = "nnunet_state"
REORIENTING_READER = "NibabelIOWithReorient"
PLAIN_NUMPY: tuple[Any, ...] = (
    np.dtype,
    np._core.multiarray.scalar,  # type: ignore[attr-defined]
    np.dtypes.Float64DType,
    np.dtypes.Float32DType,
    np.dtypes.Int64DType,
)
"""What of numpy a checkpoint's log of losses may hold; none of it runs code."""


@dataclass(frozen=True)
class _Case:
    """What nnU-Net must know of a case to bring its answer back: properties and orientation."""

    properties: dict[str, Any]
    oriented: MetaTensor
    orientation: Any


def load_nnunet(folder: Path, device: torch.device) -> LoadedBundle:
    """Load a result folder onto the device. Raises `InvalidBundle`."""
    metadata = nnunet_metadata(folder)
    checkpoints = [_checkpoint(path) for path in folds(folder)]
    with _silent():
        predictor = _predictor(folder, checkpoints, device)
    steps = _Steps(predictor)
    return LoadedBundle(
        metadata=metadata,
        device=device,
        network=predictor.network,
        inferer=steps.infer,
        preprocessing=steps.preprocess,
        postprocessing=steps.postprocess,
        adds_channel=False,
        load_keys=(IMAGE,),
        chain=Chain((), is_known=False),
    )


@dataclass(frozen=True)
class _Steps:
    """nnU-Net's steps in the form of a bundle's; its own arrays are [channel, z, y, x]."""

    predictor: Any

    def preprocess(self, data: dict[str, Any]) -> dict[str, Any]:
        plans = self.predictor.plans_manager
        reorients = plans.image_reader_writer_class().__class__.__name__ == REORIENTING_READER
        orientation = Orientation("RAS") if reorients else None
        image = orientation(data[IMAGE]) if orientation else data[IMAGE]
        affine = np.asarray(image.affine, dtype=np.float64)
        spacing = [float(edge) for edge in np.linalg.norm(affine[:3, :3], axis=0)[::-1]]
        configuration = self.predictor.configuration_manager
        preprocessor = configuration.preprocessor_class(verbose=False)
        array = image.numpy().transpose(0, 3, 2, 1)
        with _silent():
            values, _, properties = preprocessor.run_case_npy(
                array, None, {"spacing": spacing}, plans, configuration, self.predictor.dataset_json
            )
        tensor = torch.as_tensor(np.asarray(values), dtype=torch.float32)
        case = _Case(properties, image, orientation)
        return {**data, IMAGE: MetaTensor(tensor), STATE: case}

    def infer(self, inputs: torch.Tensor, network: Any) -> torch.Tensor:
        del network  # the predictor holds it, and puts the weights of each fold into it
        with _silent():
            answer: torch.Tensor = self.predictor.predict_logits_from_preprocessed_data(inputs[0])
        return answer[None]

    def postprocess(self, data: dict[str, Any]) -> dict[str, Any]:
        from nnunetv2.inference.export_prediction import (
            convert_predicted_logits_to_segmentation_with_correct_shape,
        )

        case: _Case = data[STATE]
        with _silent():
            labels = convert_predicted_logits_to_segmentation_with_correct_shape(
                data[PRED].as_tensor().cpu(),
                self.predictor.plans_manager,
                self.predictor.configuration_manager,
                self.predictor.label_manager,
                case.properties,
            )
        array = torch.from_numpy(np.ascontiguousarray(labels.transpose(2, 1, 0)[None]))
        answer = MetaTensor(array.float(), meta=case.oriented.meta)
        if case.orientation is not None:
            answer.applied_operations = case.oriented.applied_operations
            answer = case.orientation.inverse(answer)
        return {**data, PRED: answer}


def _predictor(folder: Path, checkpoints: list[dict[str, Any]], device: torch.device) -> Any:
    try:
        from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
        from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name
        from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels
        from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
    except ImportError as error:
        raise InvalidBundle(
            f"{folder}: an nnU-Net model, and the package for it is missing ({error.name}): "
            "install radnode[nnunet]"
        ) from error
    first = checkpoints[0]
    try:
        dataset, plans = read_json(folder / DATASET), PlansManager(read_json(folder / PLANS))
        configuration = plans.get_configuration(first["init_args"]["configuration"])
        trainer = recursive_find_trainer_class_by_name(first["trainer_name"])
        network = trainer.build_network_architecture(
            plans,
            configuration,
            determine_num_input_channels(plans, configuration, dataset),
            plans.get_label_manager(dataset).num_segmentation_heads,
            enable_deep_supervision=False,
        )
        weights = [checkpoint["network_weights"] for checkpoint in checkpoints]
        for state in weights:
            network.load_state_dict(state)
        predictor = nnUNetPredictor(
            use_mirroring=True,
            perform_everything_on_device=device.type == "cuda",
            device=device,
            allow_tqdm=False,
        )
        predictor.manual_initialization(
            network.to(device).eval(),
            plans,
            configuration,
            weights,
            dataset,
            first["trainer_name"],
            first.get("inference_allowed_mirroring_axes"),
        )
    except BROKEN_CONFIG as error:
        raise invalid(folder, "does not make an nnU-Net", error) from error
    return predictor


def _checkpoint(path: Path) -> dict[str, Any]:
    try:
        with torch.serialization.safe_globals(list(PLAIN_NUMPY)):
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except BROKEN_WEIGHTS as error:
        raise invalid(path, "is no checkpoint of tensors and plain values", error) from error
    return state


@contextmanager
def _silent() -> Iterator[None]:
    """nnU-Net prints on standard output, where our own answers go."""
    with redirect_stdout(io.StringIO()):
        yield
