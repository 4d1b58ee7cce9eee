"""Cached results are found only by their key, and are complete or absent."""

from __future__ import annotations

import numpy as np
import pytest

from foleyflow.errors import DataError
from foleyflow.evaluation import cache as cache_module
from foleyflow.evaluation.cache import ResultCache, code_sha256
from foleyflow.evaluation.metrics import envelope, spectral


def test_a_result_is_found_only_by_its_key(tmp_path):
    with ResultCache(tmp_path / "kept") as cache:
        assert cache.get(["pair", "a", 1]) is None
        cache.put(["pair", "a", 1], {"values": [0.1, 1e-300, -2.5]})
        assert cache.get(["pair", "a", 1]) == {"values": [0.1, 1e-300, -2.5]}
        assert cache.get(["pair", "a", 2]) is None
        assert cache.get(["pair", "a", 1], pack="other") is None
    assert ResultCache(tmp_path / "kept").get(["pair", "a", 1]) is not None
    assert (cache.hits, cache.misses) == (1, 3)


def test_results_about_one_sound_are_one_file(tmp_path):
    with ResultCache(tmp_path) as cache:
        for sound in ("a", "b"):
            for number in range(5):
                cache.put([sound, number], {"x": number}, pack=sound)
    assert len(list(tmp_path.rglob("*.json"))) == 2
    # A second process adds its results
    with ResultCache(tmp_path) as second:
        second.put(["a", 5], {"x": 5}, pack="a")
    assert [ResultCache(tmp_path).get(["a", n], pack="a") for n in range(6)] == [
        {"x": n} for n in range(6)
    ]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_arrays_are_stored_exactly(tmp_path, dtype):
    array = np.random.default_rng(0).standard_normal((3, 4)).astype(dtype)
    with ResultCache(tmp_path) as cache:
        cache.put(["a"], {"output": array.astype(np.float64)})
    found = ResultCache(tmp_path).get(["a"])["output"]
    assert found.dtype == dtype  # 32 bits where they suffice
    np.testing.assert_array_equal(found, array)


def test_more_packs_than_stay_in_memory_are_written(tmp_path, monkeypatch):
    monkeypatch.setattr(cache_module, "OPEN_PACKS", 2)
    with ResultCache(tmp_path) as cache:
        for number in range(7):
            cache.put(["a"], {"x": number}, pack=f"sound {number}")
        assert [cache.get(["a"], f"sound {n}")["x"] for n in range(7)] == list(range(7))


def test_without_a_folder_results_stay_in_memory(tmp_path):
    with ResultCache() as cache:
        cache.put(["a"], {"x": 1})
        assert cache.get(["a"]) == {"x": 1}
    assert ResultCache().get(["a"]) is None


@pytest.mark.parametrize("text", ["", "[]", '{"results": [1]}', '{"results": {"a": 1}}'])
def test_a_damaged_result_counts_as_missing_and_is_replaced(tmp_path, text):
    with ResultCache(tmp_path) as cache:
        cache.put(["a"], {"x": 1})
    (path,) = tmp_path.rglob("*.json")
    path.write_text(text)
    with ResultCache(tmp_path) as cache:
        assert cache.get(["a"]) is None
        cache.put(["a"], {"x": 2})
    assert ResultCache(tmp_path).get(["a"]) == {"x": 2}


@pytest.mark.parametrize("value", [float("nan"), np.array([1.0, np.inf])])
def test_values_that_are_not_finite_are_not_stored(tmp_path, value):
    with (
        pytest.raises(ValueError, match="not JSON compliant"),
        ResultCache(tmp_path) as cache,
    ):
        cache.put(["a"], {"x": value})
    assert not list(tmp_path.rglob("*.json"))


def test_a_file_as_cache_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="expected a folder for cached results"):
        ResultCache(tmp_path / "file")


def test_different_code_has_a_different_hash():
    assert code_sha256(envelope) == code_sha256(envelope)
    assert code_sha256(envelope) != code_sha256(spectral) != code_sha256(envelope, spectral)
