import torch
from torch.nn import functional

from pipelines.training.losses import dice_cross_entropy_loss, soft_dice_loss


def some_labels() -> torch.Tensor:
    return torch.randint(3, (2, 6, 7, 5), generator=torch.Generator().manual_seed(0))


def logits_for(labels: torch.Tensor, confidence: float) -> torch.Tensor:
    return confidence * functional.one_hot(labels, 3).movedim(-1, 1).float()


def test_a_perfect_and_sure_answer_costs_next_to_nothing() -> None:
    labels = some_labels()
    assert float(dice_cross_entropy_loss(logits_for(labels, 30), labels)) < 1e-3


def test_a_worse_answer_costs_more() -> None:
    labels = some_labels()
    right, unsure = logits_for(labels, 5), logits_for(labels, 0)
    wrong = logits_for((labels + 1) % 3, 5)
    losses = [float(dice_cross_entropy_loss(x, labels)) for x in (right, unsure, wrong)]
    assert losses == sorted(losses)


def test_soft_dice_stays_between_zero_and_one() -> None:
    labels = some_labels()
    for confidence in (-30.0, 0.0, 30.0):
        assert 0 <= float(soft_dice_loss(logits_for(labels, confidence), labels)) <= 1


def test_a_structure_absent_from_the_batch_does_not_break_the_loss() -> None:
    labels = torch.zeros(1, 4, 4, 4, dtype=torch.int64)
    logits = torch.zeros(1, 3, 4, 4, 4, requires_grad=True)
    dice_cross_entropy_loss(logits, labels).backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert bool(torch.isfinite(logits.grad).all())


def test_logits_in_bfloat16_give_a_loss_in_single_precision() -> None:
    labels = some_labels()
    loss = dice_cross_entropy_loss(logits_for(labels, 2).bfloat16(), labels)
    assert loss.dtype == torch.float32
