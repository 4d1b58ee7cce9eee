"""Folders of older formats are read with the current names and tensors, as strictly as others."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from support.flow_networks import random_condition
from torch import nn

from foleyflow.codec.autoencoder import Codec, CodecConfig
from foleyflow.cues.arrays import hits
from foleyflow.cues.tracks import TrackLayout, condition_tracks
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
OLD_FIELDS = {"events": False, "material_names": []}  # of flows up to format 4


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


def add_old_inputs(tensors, *, seed=0):
    """The tensors of a flow up to format 4, with weights for events and one row of materials."""
    random = torch.Generator().manual_seed(seed)
    weight = tensors["frame_condition.0.weight"]
    channel = torch.randn(len(weight), 1, 3, generator=random).to(weight)
    row = torch.randn(1, len(weight), generator=random).to(weight)
    joined = torch.cat([weight, channel], 1)
    return tensors | {"frame_condition.0.weight": joined, "material.weight": row}


def write_format_1(folder, kind):
    """Save a new component, and rewrite its files as an earlier version wrote them."""
    torch.manual_seed(0)
    module, renames = MODULES[kind](CONFIGS[kind]), RENAMES[1][kind]
    save(folder, kind, module)
    path = folder / f"{kind}.safetensors"
    added = added_tensors(kind, module.state_dict(), 1)
    stored = {k: v for k, v in load_file(path).items() if k not in added}
    if kind == "flow":
        stored = add_old_inputs(stored)
        stored["material.weight"].zero_()  # so that the migrated bias is the stored one
    tensors = {old_name(name, renames.tensors): v for name, v in stored.items()}
    save_file(tensors, path)
    fields = {new: old for old, new in renames.fields.items()}

    def change(content):
        record = content["components"][kind]
        config = {k: v for k, v in record["config"].items() if k != "gains_per_spectrum"}
        record["config"] = {fields.get(name, name): v for name, v in config.items()}
        record["config"] |= OLD_FIELDS if kind == "flow" else {}
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
    for version, added in ((1, 1), (2, 1), (3, -1), (FORMAT, 0)):
        migrated = migrate_tensors("flow", stored, version)
        assert len(migrated) == len(stored) + added  # two more, and one less
    codec = {"decoder.input_conv.weight": torch.zeros(1)}
    assert migrate_tensors("codec", codec, 2) == codec


def test_every_rename_is_used_by_the_shipped_judge():
    stored = load_file(SHIPPED / "sync.safetensors")
    migrated = migrate_tensors("sync", stored, 1)
    assert len(migrated) == len(stored)
    for old, new in RENAMES[1]["sync"].tensors.items():
        assert any(name.startswith(old) for name in stored), old
        assert any(name.startswith(new) for name in migrated), new
        assert not any(name.startswith(old) for name in migrated), old


class OldEmbedding(FlowTransformer):
    """The embedding of conditions in flows up to format 4, without events and material."""

    def __init__(self, config):
        super().__init__(config)
        width, condition_width = config.width, config.condition_width
        self.frame_condition[0] = nn.Conv1d(condition_width + 96 + 1, width, 3, padding=1)
        self.material = nn.Embedding(1, width)

    def embed(self, condition, drop=None):
        states = self.unfold(condition.states).unflatten(-1, (4, -1)).flatten(1, 2)
        joined = torch.cat([condition.video, states, torch.zeros_like(states[..., :1])], -1)
        frames = self.frame_condition(joined.transpose(1, 2)).transpose(1, 2)
        not_given = torch.zeros(len(joined), dtype=torch.int64)
        clip = self.global_condition(condition.video.mean(1)) + self.material(not_given)
        if self.cue_condition is not None:
            has_video = condition.has_video[:, None, None]
            cues = self.cue_condition(condition.cues.transpose(1, 2)).transpose(1, 2)
            frames = torch.where(has_video, frames, self.no_video) + cues
            clip = torch.where(has_video[:, 0], clip, torch.zeros_like(clip))
        if drop is not None:
            frames = torch.where((drop >= 1)[:, None, None], self.null_frame_condition, frames)
            clip = torch.where((drop == 2)[:, None], self.null_global_condition, clip)
        return frames + clip[:, None]


@pytest.mark.parametrize("cue_materials", [(), ("wood", "metal")])
@torch.no_grad()
def test_flows_of_format_4_keep_their_output(tmp_path, cue_materials):
    config = dataclasses.replace(CONFIGS["flow"], cue_materials=cue_materials)
    torch.manual_seed(0)
    old = OldEmbedding(config).eval()
    for parameter in old.parameters():
        parameter.normal_(std=0.3)
    stored_config = dataclasses.asdict(config) | OLD_FIELDS
    save_component(tmp_path, "flow", module=old, config=stored_config, provenance={})
    stored = load_file(tmp_path / "flow.safetensors")
    old.load_state_dict({name: value.float() for name, value in stored.items()})
    edit_config(tmp_path, lambda c: c["components"]["flow"].update(format=4))
    new = load_flow(tmp_path)
    # Rows with and without video, of which everything, some or nothing is dropped
    condition = random_condition(6, 8, width=4, channels=3, cue_channels=config.cue_channels)
    has_video = torch.tensor([True, True, True, False, False, False])
    condition = dataclasses.replace(condition, has_video=has_video)
    for drop in (None, torch.tensor([0, 1, 2, 0, 1, 2])):
        wanted, found = (network.embed(condition, drop) for network in (old, new))
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("used", [{"events": True}, {"material_names": ["wood"]}])
@pytest.mark.parametrize("version", [1, 4])
def test_flows_that_used_removed_inputs_are_refused(tmp_path, used, version):
    write_format_1(tmp_path, "flow")

    def change(content):
        content["components"]["flow"]["config"].update(used)
        content["components"]["flow"]["format"] = version

    edit_config(tmp_path, change)
    with pytest.raises(CheckpointError, match="an event track or a material per window") as caught:
        load_flow(tmp_path)
    assert "train the flow again" in caught.value.hint


@torch.no_grad()
def test_the_embedded_model_generates():
    flow, codec, aligner = load_flow(EMBEDDED), load_codec(EMBEDDED), load_aligner(EMBEDDED)
    assert flow.config.condition_width == aligner.config.width
    assert codec.config.mel_pca_bands == 128 and codec.config.propagates_phase
    channels, layout = flow.config.channels, TrackLayout(materials=len(flow.config.cue_materials))
    tracks = condition_tracks(hits(np.array([0.3])), 40, rate_hz=50.0, layout=layout)
    condition = dataclasses.replace(
        random_condition(1, 40, width=flow.config.condition_width, channels=channels),
        cues=torch.from_numpy(tracks)[None],
        has_video=torch.zeros(1, dtype=torch.bool),
    )
    latents = sample(flow, condition, torch.randn(1, 40, channels), steps=4, guidance=1.0)
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
    edit_config(tmp_path, lambda c: c["components"]["flow"].update(format=6))
    with pytest.raises(CheckpointError, match="'flow': format 6, expected 1 or 2 or 3 or 4 or 5"):
        read_record(tmp_path, "flow")
