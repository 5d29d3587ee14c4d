"""The network of deepbrain 0.1 as a TorchScript file: GRAPH.PB, OUTPUT. No TensorFlow is needed.

A frozen graph of TensorFlow is a protobuf message; its constants hold the weights.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool3d

NODE, NAME, ATTRIBUTE, VALUE, TENSOR, SHAPE, DIMENSION, SIZE = 1, 1, 5, 2, 8, 2, 2, 1
CONTENT, FLOATS = 4, 5


def varint(data: bytes, at: int) -> tuple[int, int]:
    """A number and where the next field begins."""
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def fields(data: bytes) -> Iterator[tuple[int, bytes | int]]:
    """Numbers and values of the fields of a protobuf message."""
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        if key & 7 == 0:
            value, at = varint(data, at)
            yield key >> 3, value
            continue
        length, at = varint(data, at) if key & 7 == 2 else ({1: 8, 5: 4}[key & 7], at)
        yield key >> 3, data[at : at + length]
        at += length


def parts(data: bytes, number: int) -> Iterator[bytes]:
    """The values of one field that are messages or bytes."""
    return (value for key, value in fields(data) if key == number and isinstance(value, bytes))


def weights(path: str) -> dict[str, Tensor]:
    """Kernels and biases by name."""
    found = {}
    for node in parts(Path(path).read_bytes(), NODE):
        name = next(parts(node, NAME)).decode()
        for attribute in parts(node, ATTRIBUTE) if name.endswith(("/kernel", "/bias")) else ():
            for tensor in (one for v in parts(attribute, VALUE) for one in parts(v, TENSOR)):
                shape = [
                    next(int(size) for key, size in fields(dimension) if key == SIZE)
                    for part in parts(tensor, SHAPE)
                    for dimension in parts(part, DIMENSION)
                ]
                content = b"".join([*parts(tensor, CONTENT), *parts(tensor, FLOATS)])
                values = np.frombuffer(content, "<f4").reshape(shape)
                found[name] = torch.from_numpy(values.copy())
    return found


class Deepbrain(nn.Module):
    """[1, 1, 128, 128, 128] with values 0 to 1 to logits of the brain, of the same shape."""

    def __init__(self, known: dict[str, Tensor]) -> None:
        super().__init__()
        names = [f"conv3d_{number}".removesuffix("_0") for number in range(10)]
        self.convolutions = nn.ModuleList(
            self.filled(nn.Conv3d, known[f"{name}/kernel"], known[f"{name}/bias"]) for name in names
        )
        names = [f"conv3d_transpose_{number}".removesuffix("_0") for number in range(3)]
        self.enlarging = nn.ModuleList(
            self.filled(nn.ConvTranspose3d, known[f"{name}/kernel"]) for name in names
        )

    @staticmethod
    def filled(kind: type, kernel: Tensor, bias: Tensor | None = None) -> nn.Module:
        """A layer; TensorFlow keeps kernels as [x, y, z, in, out], or out, in where it enlarges."""
        values = kernel.permute(4, 3, 0, 1, 2).contiguous()
        sizes = (values.shape[1], values.shape[0]) if bias is not None else values.shape[:2]
        more = {"padding": values.shape[2] // 2} if bias is not None else {"stride": 2}
        layer: nn.Module = kind(*sizes, values.shape[2], bias=bias is not None, **more)
        state = {"weight": values} if bias is None else {"weight": values, "bias": bias}
        layer.load_state_dict(state)
        return layer

    def forward(self, image: Tensor) -> Tensor:
        """The graph without its dropout."""
        kept: list[Tensor] = []
        now = image
        for number, layer in enumerate(self.convolutions):
            if number in (2, 4):
                now = max_pool3d(kept[-1], 2)
            now = layer(now)
            if number < 9:
                now = now.relu()
            if number in (1, 3, 5):
                kept.append(now)
            if number == 5:
                now = max_pool3d(now, 2)
            for step, larger in enumerate(self.enlarging):
                if number == 5 + step:
                    grown = larger(now)[:, :, :-1, :-1, :-1]
                    now = torch.cat([grown, kept[2 - step]], 1)
        return now


torch.jit.script(Deepbrain(weights(sys.argv[1])).eval()).save(sys.argv[2])
