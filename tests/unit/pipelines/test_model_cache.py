from __future__ import annotations

import pytest
import torch

from pipelines.bundle import LoadedBundle, load_bundle
from pipelines.errors import InvalidBundle
from pipelines.model_cache import ModelCache, weights_mib
from tests.unit.pipelines.threshold_bundle import write_bundle

A, B, C = (("a", "cpu"), ("b", "cpu"), ("c", "cpu"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedBundle:
    folder = tmp_path_factory.mktemp("bundles") / "two_levels"
    return load_bundle(write_bundle(folder), torch.device("cpu"))


def test_a_model_is_loaded_once(model: LoadedBundle) -> None:
    cache, loads = ModelCache(100), []
    for _ in range(3):
        cache.get(A, lambda: loads.append(1) or model)  # type: ignore[func-returns-value]
    assert len(loads) == 1


def test_the_model_used_longest_ago_goes_first(model: LoadedBundle) -> None:
    cache = ModelCache(2.5 * weights_mib(model.network))
    for key in (A, B, A, C):
        cache.get(key, lambda: model)
    assert cache.keys == (A, C)


def test_the_model_asked_for_is_kept_however_large_it_is(model: LoadedBundle) -> None:
    cache = ModelCache(0)
    cache.get(A, lambda: model)
    cache.get(B, lambda: model)
    assert cache.keys == (B,)


def test_a_smaller_budget_takes_effect_at_once(model: LoadedBundle) -> None:
    cache = ModelCache(100)
    for key in (A, B, C):
        cache.get(key, lambda: model)
    cache.set_budget(0)
    assert cache.keys == (C,)


def test_a_model_that_does_not_load_is_not_kept() -> None:
    def broken() -> LoadedBundle:
        raise InvalidBundle("broken")

    cache = ModelCache(100)
    with pytest.raises(InvalidBundle):
        cache.get(A, broken)
    assert cache.keys == ()


def test_the_size_of_a_model_counts_its_weights() -> None:
    assert weights_mib(torch.nn.Linear(1024, 256, bias=False)) == 1.0
