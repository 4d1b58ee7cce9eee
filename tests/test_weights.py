"""Model folders: round trips, and errors for everything that does not fit."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from foleyflow.errors import CheckpointError
from foleyflow.weights import (
    CONFIG_NAME,
    file_sha256,
    load_into,
    merge_models,
    read_record,
    save_component,
)


class Small(nn.Module):
    """A layer, a buffer of floats and a buffer of integers."""

    def __init__(self, width: int = 3) -> None:
        super().__init__()
        self.layer = nn.Linear(width, 2)
        self.register_buffer("scale", torch.full((2,), 0.5))
        self.register_buffer("seen", torch.tensor(7))


def save(folder, name="codec", module=None, **settings):
    torch.manual_seed(0)
    module = module or Small()
    save_component(folder, name, module=module, config={"width": 3}, provenance={}, **settings)
    return module


@pytest.fixture
def folder(tmp_path):
    save(tmp_path / "model")
    return tmp_path / "model"


def edit_config(folder, change):
    path = folder / CONFIG_NAME
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_round_trip(tmp_path):
    module = Small()
    provenance = {"recipe": "smoke", "steps": 4}
    config = {"width": 3, "names": ["a", "b"]}
    save_component(tmp_path, "codec", module=module, config=config, provenance=provenance)
    torch.manual_seed(1)
    other = Small()
    assert load_into(other, tmp_path, "codec") is other
    assert not other.training
    for key, value in module.state_dict().items():
        found = other.state_dict()[key]
        assert found.dtype == value.dtype
        rounded = value.half().float() if value.is_floating_point() else value
        assert torch.equal(found, rounded), key
    record = read_record(tmp_path, "codec")
    assert (record.kind, record.config, record.provenance) == ("codec", config, provenance)
    assert record.sha256 == file_sha256(tmp_path / "codec.safetensors")


def test_float32_can_be_stored(tmp_path):
    module = save(tmp_path, dtype=torch.float32)
    torch.testing.assert_close(
        load_into(Small(), tmp_path, "codec").layer.weight, module.layer.weight, atol=0, rtol=0
    )


def test_saving_a_component_does_not_change_the_others(folder):
    before = (folder / "codec.safetensors").read_bytes(), read_record(folder, "codec")
    save(folder, "flow")
    assert ((folder / "codec.safetensors").read_bytes(), read_record(folder, "codec")) == before
    load_into(Small(), folder, "flow")
    assert sorted(path.name for path in folder.iterdir()) == [
        "codec.safetensors",
        "config.json",
        "flow.safetensors",
    ]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e6], ids=["nan", "inf", "fp16"])
def test_tensors_that_are_not_finite_when_stored_are_refused(folder, value):
    module = Small()
    with torch.no_grad():
        module.layer.weight[0, 1] = value
    with pytest.raises(CheckpointError, match=r"codec: tensor 'layer.weight' is not finite"):
        save(folder, module=module)
    load_into(Small(), folder, "codec")  # the old file is intact


def test_a_changed_byte_is_detected(folder):
    path = folder / "codec.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"codec.safetensors: the hash differs"):
        load_into(Small(), folder, "codec")


def test_a_truncated_file_is_refused(folder):
    path = folder / "codec.safetensors"
    path.write_bytes(path.read_bytes()[:-5])
    edit_config(folder, lambda c: c["components"]["codec"].update(sha256=file_sha256(path)))
    with pytest.raises(CheckpointError, match="not a safetensors file"):
        load_into(Small(), folder, "codec")


def test_foreign_tensors_are_refused(folder):
    module = Small()
    module.extra = nn.Parameter(torch.zeros(1))
    save(folder, module=module)
    with pytest.raises(CheckpointError, match=r"missing \[\], foreign \['extra'\]"):
        load_into(Small(), folder, "codec")


def test_missing_tensors_are_refused(folder):
    module = Small()
    module.extra = nn.Parameter(torch.zeros(1))
    with pytest.raises(CheckpointError, match=r"missing \['extra'\], foreign \[\]"):
        load_into(module, folder, "codec")


def test_tensors_of_another_shape_are_refused(folder):
    with pytest.raises(CheckpointError, match=r"of another shape \['layer.weight'\]"):
        load_into(Small(width=4), folder, "codec")


def test_reinitialised_tensors_keep_the_values_of_the_module(folder):
    wide = Small(width=4)
    own = wide.layer.weight.clone()
    with torch.no_grad():
        wide.scale.zero_()
    load_into(wide, folder, "codec", reinitialised_prefixes=("layer.wei",))
    assert torch.equal(wide.layer.weight, own)
    assert torch.equal(wide.scale, Small().scale)
    with pytest.raises(CheckpointError, match=r"of another shape \['layer.weight'\]"):
        load_into(wide, folder, "codec", reinitialised_prefixes=("scale",))
    wide.layer.extra = nn.Parameter(torch.zeros(1))
    # Reinitialised tensors need not be stored
    load_into(wide, folder, "codec", reinitialised_prefixes=("layer.",))
    with pytest.raises(CheckpointError, match=r"missing \['layer.extra'\]"):
        load_into(wide, folder, "codec", reinitialised_prefixes=("layer.wei",))


def test_a_missing_component_is_named(folder):
    with pytest.raises(CheckpointError, match=r"holds \['codec'\], expected a component 'flow'"):
        load_into(Small(), folder, "flow")


def test_a_missing_file_is_named(folder):
    (folder / "codec.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"codec.safetensors: no such file"):
        load_into(Small(), folder, "codec")


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"no config.json here, expected a model folder"):
        read_record(tmp_path, "codec")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[]", "format 'list', expected 1 or 2"),
        ('{"components": {}}', "format None, expected 1 or 2"),
        ('{"format": 6, "components": {}}', "format 6, expected 1 or 2 or 3 or 4 or 5"),
        ('{"format": 2}', "has no components"),
        ('{"format": 1, "components": {"codec": {"kind": "codec"}}}', "record of 'codec'"),
        ('{"format": 1, "components": {"codec": 3}}', "record of 'codec'"),
    ],
)
def test_damaged_config_files_are_refused(folder, text, message):
    (folder / CONFIG_NAME).write_text(text)
    with pytest.raises(CheckpointError, match=message):
        load_into(Small(), folder, "codec")


def test_merging_preserves_bytes_and_records(folder, tmp_path):
    save(tmp_path / "other", "flow")
    out = tmp_path / "out"
    assert merge_models([folder, tmp_path / "other"], out) == ["codec", "flow"]
    for source, name in ((folder, "codec"), (tmp_path / "other", "flow")):
        file = f"{name}.safetensors"
        assert (out / file).read_bytes() == (source / file).read_bytes()
        assert read_record(out, name) == read_record(source, name)
        load_into(Small(), out, name)
    assert len(list(out.iterdir())) == 3


def test_merging_replaces_components_of_the_same_name(folder, tmp_path):
    out = tmp_path / "out"
    save(out, "flow")
    save(out, "codec", module=Small(width=5))
    assert merge_models([folder], out) == ["codec", "flow"]
    load_into(Small(), out, "codec")
    load_into(Small(), out, "flow")


def test_merging_refuses_duplicate_components(folder, tmp_path):
    save(tmp_path / "other")
    with pytest.raises(CheckpointError, match=r"other: holds 'codec', as does .*model"):
        merge_models([folder, tmp_path / "other"], tmp_path / "out")


def test_merging_refuses_a_damaged_source_and_writes_nothing(folder, tmp_path):
    save(tmp_path / "other", "flow")
    (tmp_path / "other/flow.safetensors").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match=r"flow.safetensors: the hash differs"):
        merge_models([folder, tmp_path / "other"], tmp_path / "out")
    assert not (tmp_path / "out").exists()
