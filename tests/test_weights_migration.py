"""Folders of older formats are read with the current names and tensors, as strictly as others."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.flow_networks import random_condition

from foleyflow.codec.autoencoder import Codec, CodecConfig
from foleyflow.errors import CheckpointError
from foleyflow.flow.sampling import sample
from foleyflow.flow.transformer import FlowConfig, FlowTransformer
from foleyflow.judges.weights import SHIPPED
from foleyflow.pretrained import EMBEDDED, load_aligner, load_codec, load_flow
from foleyflow.weights import (
    CONFIG_NAME,
    file_sha256,
    load_into,
    merge_models,
    read_record,
    save_component,
)
from foleyflow.weights_migration import FORMAT, RENAMES, added_tensors, migrate_tensors

CONFIGS = {
    "codec": CodecConfig(
        encoder_width=8,
        encoder_blocks=1,
        decoder_width=8,
        decoder_blocks=1,
        fine_blocks=1,
        gains_per_spectrum=0,  # as in all codecs before format 4
    ),
    "flow": FlowConfig(channels=3, width=8, layers=1, heads=2, condition_width=4),
}
MODULES = {"codec": Codec, "flow": FlowTransformer}


def old_name(name: str, renames: dict[str, str]) -> str:
    for old, new in renames.items():
        if name.startswith(new):
            return old + name.removeprefix(new)
    return name


def edit_config(folder, change):
    path = folder / CONFIG_NAME
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def save(folder, kind, module):
    config = dataclasses.asdict(CONFIGS[kind])
    save_component(folder, kind, module=module, config=config, provenance={})


def write_format_1(folder, kind):
    """Save a new component, and rewrite its files as an earlier version wrote them."""
    torch.manual_seed(0)
    module, renames = MODULES[kind](CONFIGS[kind]), RENAMES[1][kind]
    save(folder, kind, module)
    path = folder / f"{kind}.safetensors"
    added = added_tensors(kind, module.state_dict(), 1)
    stored = {k: v for k, v in load_file(path).items() if k not in added}
    tensors = {old_name(name, renames.tensors): v for name, v in stored.items()}
    save_file(tensors, path)
    fields = {new: old for old, new in renames.fields.items()}

    def change(content):
        record = content["components"][kind]
        config = {k: v for k, v in record["config"].items() if k != "gains_per_spectrum"}
        record["config"] = {fields.get(name, name): v for name, v in config.items()}
        record["sha256"] = file_sha256(path)
        del record["format"]
        content["format"] = 1

    edit_config(folder, change)
    return module, tensors


@pytest.mark.parametrize("kind", MODULES)
def test_a_folder_of_format_1_loads_under_the_current_names(tmp_path, kind):
    module, tensors = write_format_1(tmp_path, kind)
    assert tensors.keys() != module.state_dict().keys()
    record = read_record(tmp_path, kind)
    expected = json.loads(json.dumps(dataclasses.asdict(CONFIGS[kind])))
    assert (record.format, record.config) == (1, expected)
    loaded = load_into(MODULES[kind](CONFIGS[kind]), tmp_path, kind)
    added = added_tensors(kind, module.state_dict(), 1)
    for name, value in (module.state_dict() | added).items():
        expected = value.half().float() if value.is_floating_point() else value
        assert torch.equal(loaded.state_dict()[name], expected), name


def test_flows_of_format_2_count_as_one_step_maps_with_guidance(tmp_path):
    write_format_1(tmp_path, "flow")
    stored = load_file(tmp_path / "flow.safetensors")
    for version, added in ((1, 1), (2, 1), (FORMAT, 0)):
        migrated = migrate_tensors("flow", stored, version)
        assert len(migrated) == len(stored) + 2 * added
    codec = {"decoder.input_conv.weight": torch.zeros(1)}
    assert migrate_tensors("codec", codec, 2) == codec


def test_every_rename_is_used_by_the_shipped_weights():
    for kind, renames in RENAMES[1].items():
        folder = SHIPPED if kind == "sync" else EMBEDDED
        stored = load_file(folder / f"{kind}.safetensors")
        migrated = migrate_tensors(kind, stored, 1)
        assert len(migrated) == len(stored) + len(added_tensors(kind, migrated, 1))
        for old, new in renames.tensors.items():
            assert any(name.startswith(old) for name in stored), old
            assert any(name.startswith(new) for name in migrated), new
            assert not any(name.startswith(old) for name in migrated), old


@torch.no_grad()
def test_the_embedded_model_is_of_format_1_and_generates():
    assert read_record(EMBEDDED, "flow").format == 1
    flow, codec, aligner = load_flow(EMBEDDED), load_codec(EMBEDDED), load_aligner(EMBEDDED)
    assert flow.config.condition_width == aligner.config.width
    assert codec.config.mel_pca_bands == 128 and codec.config.propagates_phase
    condition = random_condition(1, 40, width=flow.config.condition_width, channels=48)
    latents = sample(flow, condition, torch.randn(1, 40, 48), steps=1, guidance=1.0)
    sound = codec.decode(flow.restore(latents))
    assert sound.shape == (1, 40 * 960) and bool(sound.isfinite().all()) and sound.abs().max() > 0


def test_strict_loading_refuses_unknown_names_of_format_1(tmp_path):
    _, tensors = write_format_1(tmp_path, "flow")
    path = tmp_path / "flow.safetensors"
    save_file(tensors | {"guide.9.weight": torch.zeros(1)}, path)
    edit_config(tmp_path, lambda c: c["components"]["flow"].update(sha256=file_sha256(path)))
    with pytest.raises(CheckpointError, match=r"foreign \['frame_condition.9.weight'\]"):
        load_into(FlowTransformer(CONFIGS["flow"]), tmp_path, "flow")


def test_components_of_both_formats_share_a_folder(tmp_path):
    write_format_1(tmp_path / "old", "flow")
    stored = (tmp_path / "old/flow.safetensors").read_bytes()
    save(tmp_path / "old", "codec", Codec(CONFIGS["codec"]))
    merge_models([tmp_path / "old"], tmp_path / "merged")
    assert (tmp_path / "merged/flow.safetensors").read_bytes() == stored
    for folder in (tmp_path / "old", tmp_path / "merged"):
        assert json.loads((folder / CONFIG_NAME).read_text())["format"] == FORMAT
        formats = [read_record(folder, kind).format for kind in ("flow", "codec")]
        assert formats == [1, FORMAT]
        load_into(FlowTransformer(CONFIGS["flow"]), folder, "flow")
        load_into(Codec(CONFIGS["codec"]), folder, "codec")


def test_an_unknown_format_of_one_component_is_refused(tmp_path):
    write_format_1(tmp_path, "flow")
    edit_config(tmp_path, lambda c: c["components"]["flow"].update(format=5))
    with pytest.raises(CheckpointError, match="'flow': format 5, expected 1 or 2 or 3 or 4"):
        read_record(tmp_path, "flow")
