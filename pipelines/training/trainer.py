"""The training loop: a fixed span, a falling learning rate, averaged weights at the end."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Generator, Tensor, nn

from pipelines.training.augmentation import Augmentation, Shape, random_patch
from pipelines.training.datasets import Report, TrainingVolume
from pipelines.training.losses import dice_cross_entropy_loss

State = dict[str, Tensor]


@dataclass(frozen=True)
class TrainingPlan:
    """How long and how hard to train; the span is `minutes`, or `iterations` where that is set."""

    minutes: float = 40.0
    iterations: int | None = None
    seed: int = 0
    batch_size: int = 2
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    warm_up: float = 0.02  # part of the span
    early_patch: Shape = (32, 48, 32)  # nearly twice as fast as the full window
    full_patch: Shape = (40, 56, 40)
    full_patch_from: float = 0.65  # part of the span after which patches have the full size
    average_decay: float = 0.999
    bfloat16: bool = True
    report_every: int = 100


@dataclass(frozen=True)
class TrainingResult:
    """The averaged weights, and what it took to get them."""

    state: State
    record: dict[str, Any]


class _Clock:
    """Says which part of the span is over, by iterations if they are limited, else by time."""

    def __init__(self, plan: TrainingPlan) -> None:
        self._plan = plan
        self._began = time.monotonic()
        self.iteration = 0

    def minutes(self) -> float:
        return (time.monotonic() - self._began) / 60

    def progress(self) -> float:
        if self._plan.iterations is not None:
            return self.iteration / self._plan.iterations
        return self.minutes() / self._plan.minutes


def learning_rate_factor(progress: float, warm_up: float) -> float:
    """Return the factor on the learning rate, 0..1: a linear rise, then half a cosine down."""
    if progress < warm_up:
        return 0.01 + 0.99 * progress / warm_up
    rest = min((progress - warm_up) / (1 - warm_up), 1.0)
    return 0.5 * (1 + math.cos(math.pi * rest))


def train(
    network: nn.Module,
    volumes: Sequence[TrainingVolume],
    plan: TrainingPlan,
    augmentation: Augmentation | None = None,
    report: Report = print,
) -> TrainingResult:
    """Train `network` in place on `volumes`; return the running average of its weights."""
    augmentation = augmentation or Augmentation()
    generator = Generator().manual_seed(plan.seed)
    draw = _endless_batches(volumes, plan, augmentation, generator)
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=plan.learning_rate, weight_decay=plan.weight_decay
    )
    average = {name: value.detach().clone() for name, value in network.state_dict().items()}
    clock, recent = _Clock(plan), 0.0
    network.train()
    while (progress := clock.progress()) < 1:
        factor = learning_rate_factor(progress, plan.warm_up)
        optimiser.param_groups[0]["lr"] = plan.learning_rate * factor
        loss = _step(network, optimiser, *draw(progress), bfloat16=plan.bfloat16)
        clock.iteration += 1
        _follow(average, network, _decay(plan.average_decay, clock.iteration))
        recent = loss if clock.iteration == 1 else 0.98 * recent + 0.02 * loss
        if clock.iteration % plan.report_every == 0:
            report(
                f"iteration {clock.iteration}, {progress:.0%}, loss {recent:.4f}, "
                f"{clock.minutes():.1f} min"
            )
    record = _record(plan, augmentation, clock, volumes)
    record["parameters"] = sum(p.numel() for p in network.parameters())
    record["final_loss"] = round(recent, 4)
    return TrainingResult(average, record)


def _endless_batches(
    volumes: Sequence[TrainingVolume],
    plan: TrainingPlan,
    augmentation: Augmentation,
    generator: Generator,
) -> Callable[[float], tuple[Tensor, Tensor]]:
    """Return a function that draws the next batch; each volume comes once before any comes twice.

    A batch is (float32 [B, 1, X, Y, Z], int64 [B, X, Y, Z]).
    """
    waiting: list[int] = []

    def next_volume() -> TrainingVolume:
        if not waiting:
            waiting.extend(torch.randperm(len(volumes), generator=generator).tolist())
        return volumes[waiting.pop()]

    def draw(progress: float) -> tuple[Tensor, Tensor]:
        shape = plan.full_patch if progress >= plan.full_patch_from else plan.early_patch
        chosen = [next_volume() for _ in range(plan.batch_size)]
        pairs = [random_patch(v.image, v.label, shape, augmentation, generator) for v in chosen]
        return torch.stack([p[0] for p in pairs]), torch.stack([p[1] for p in pairs])

    return draw


def _step(
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    images: Tensor,
    labels: Tensor,
    *,
    bfloat16: bool,
) -> float:
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16):
        logits = network(images)
    loss = dice_cross_entropy_loss(logits, labels)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(network.parameters(), 5.0)
    optimiser.step()
    return float(loss.detach())


def _decay(decay: float, iteration: int) -> float:
    # The first weights are noise: early on, the average must forget them fast.
    return min(decay, (1 + iteration) / (10 + iteration))


@torch.no_grad()
def _follow(average: State, network: nn.Module, decay: float) -> None:
    for name, value in network.state_dict().items():
        average[name].lerp_(value.float(), 1 - decay)


def _record(
    plan: TrainingPlan,
    augmentation: Augmentation,
    clock: _Clock,
    volumes: Sequence[TrainingVolume],
) -> dict[str, Any]:
    return {
        "plan": asdict(plan),
        "augmentation": asdict(augmentation),
        "iterations": clock.iteration,
        "patches": clock.iteration * plan.batch_size,
        "minutes": round(clock.minutes(), 1),
        "threads": torch.get_num_threads(),
        "training_cases": sorted(volume.stem for volume in volumes),
    }
