"""Array stores: blocks, interrupted computations, and parallel maps."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from foleyflow.features.store import offsets_of, open_store, store_folder


def arrays_of(item: int) -> dict[str, np.ndarray]:
    """Rows of variable length, their count, and one row per item."""
    count = 1 + item % 3
    return {
        "values": np.full((count, 2), item, np.float16),
        "counts": np.array([count], np.int64),
        "item": np.array([item], np.int64),
    }


@pytest.mark.parametrize("items", [1, 7, 40])
def test_store_is_computed_once_and_opened_read_only(tmp_path, items):
    calls = []

    def compute(item: int):
        calls.append(item)
        return arrays_of(item)

    for _ in range(2):
        arrays = open_store(tmp_path / "store", compute, range(items))
        assert arrays.keys() == {"values", "counts", "item"}
        assert arrays["item"].tolist() == list(range(items))
        assert arrays["values"].dtype == np.float16 and isinstance(arrays["values"], np.memmap)
        offsets = offsets_of(arrays["counts"])
        assert len(offsets) == items + 1 and offsets[-1] == len(arrays["values"])
        for item in range(items):
            rows = arrays["values"][offsets[item] : offsets[item + 1]]
            assert rows.shape == (1 + item % 3, 2) and (rows == item).all()
        with pytest.raises(ValueError, match="read-only"):
            arrays["item"][0] = 1
    assert calls == list(range(items))


@pytest.mark.parametrize("stopped_at", [0, 1, 17, 49])
def test_interrupted_store_resumes_after_the_last_block(tmp_path, stopped_at):
    folder, computed = tmp_path / "store", []

    def compute(item: int, *, stop: int | None = None):
        if item == stop:
            raise KeyboardInterrupt
        computed.append(item)
        return arrays_of(item)

    with pytest.raises(KeyboardInterrupt):
        open_store(folder, lambda item: compute(item, stop=stopped_at), range(50))
    assert not folder.exists()
    resumed = open_store(folder, compute, range(50))
    assert computed == list(range(50))
    undisturbed = open_store(tmp_path / "undisturbed", arrays_of, range(50))
    for name, values in undisturbed.items():
        np.testing.assert_array_equal(resumed[name], values)
    assert [path.name for path in tmp_path.glob("*.part")] == []


def test_partially_written_block_is_computed_again(tmp_path):
    """A kill between the arrays and the index leaves rows that the index does not count."""
    draft = tmp_path / "store.part"
    with pytest.raises(KeyboardInterrupt):
        open_store(tmp_path / "store", stop_at(5), range(9))
    with (draft / "values.npy").open("ab") as stream:
        stream.write(b"half of a block")
    assert json.loads((draft / "index.json").read_text())["blocks"] == 5
    resumed = open_store(tmp_path / "store", arrays_of, range(9))
    undisturbed = open_store(tmp_path / "undisturbed", arrays_of, range(9))
    for path in (tmp_path / "undisturbed").iterdir():
        assert (tmp_path / "store" / path.name).read_bytes() == path.read_bytes(), path.name
    np.testing.assert_array_equal(resumed["values"], undisturbed["values"])


def stop_at(stop: int):
    def compute(item: int):
        if item == stop:
            raise KeyboardInterrupt
        return arrays_of(item)

    return compute


def test_parallel_map_gives_the_same_files(tmp_path):
    with ThreadPoolExecutor(3) as pool:
        open_store(tmp_path / "threads", arrays_of, range(20), parallel_map=pool.map)
    open_store(tmp_path / "alone", arrays_of, range(20))
    for path in (tmp_path / "alone").iterdir():
        assert (tmp_path / "threads" / path.name).read_bytes() == path.read_bytes(), path.name


def test_blocks_of_other_types_are_rejected(tmp_path):
    kinds = [np.float16, np.float32]
    with pytest.raises(ValueError, match=r"float32 \(2,\), expected float16 \(2,\)"):
        open_store(tmp_path / "store", lambda kind: {"x": np.zeros((1, 2), kind)}, kinds)
    assert not (tmp_path / "store").exists()


def test_folder_names_depend_on_everything(tmp_path):
    names = {store_folder(tmp_path, "x", *parts).name for parts in ((), (1,), (1, "a"), ("a", 1))}
    assert len(names) == 4 and all(name.startswith(".x-") for name in names)
