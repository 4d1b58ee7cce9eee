"""Cached results are found only by their key, and are complete or absent."""

from __future__ import annotations

import pytest

from foleyflow.errors import DataError
from foleyflow.evaluation.cache import ResultCache, code_sha256
from foleyflow.evaluation.metrics import envelope, spectral


def test_a_result_is_found_only_by_its_key(tmp_path):
    cache = ResultCache(tmp_path / "kept")
    assert cache.get(["pair", "a", 1]) is None
    cache.put(["pair", "a", 1], {"values": [0.1, 1e-300, -2.5]})
    assert cache.get(["pair", "a", 1]) == {"values": [0.1, 1e-300, -2.5]}
    assert cache.get(["pair", "a", 2]) is None
    assert ResultCache(tmp_path / "kept").get(["pair", "a", 1]) is not None
    assert (cache.hits, cache.misses) == (1, 2)


@pytest.mark.parametrize("text", ["", "[]", '{"key": ["a"]}', '{"key": ["b"], "value": {}}'])
def test_a_damaged_result_counts_as_missing_and_is_replaced(tmp_path, text):
    cache = ResultCache(tmp_path)
    cache.put(["a"], {"x": 1})
    (path,) = tmp_path.rglob("*.json")
    path.write_text(text)
    assert cache.get(["a"]) is None
    cache.put(["a"], {"x": 2})
    assert cache.get(["a"]) == {"x": 2}


def test_values_that_are_not_finite_are_not_stored(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        ResultCache(tmp_path).put(["a"], {"x": float("nan")})
    assert not list(tmp_path.rglob("*.json"))


def test_a_file_as_cache_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="expected a folder for cached results"):
        ResultCache(tmp_path / "file")


def test_different_code_has_a_different_hash():
    assert code_sha256(envelope) == code_sha256(envelope)
    assert code_sha256(envelope) != code_sha256(spectral) != code_sha256(envelope, spectral)
