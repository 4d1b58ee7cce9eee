"""Codec latents of a data set, and the audible events of its clips."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from foleyflow.data.clip_types import ClipEvent, ClipLabels
from foleyflow.errors import CheckpointError, DataError
from foleyflow.features.codec_latents import (
    audible_events,
    clip_arrays,
    codec_latents,
    encode_sounds,
    window_source,
)
from foleyflow.features.frames import Split, cache_frames, mono_sounds
from foleyflow.pretrained import load_codec
from foleyflow.recipes import recipe_named
from foleyflow.weights import merge_models, read_record, save_component


def labels(strengths: list[float]) -> ClipLabels:
    events = tuple(
        ClipEvent(
            time_s=0.1 * number,
            strength=strength,
            kind="impact",
            material="wood",
            other_material="metal",
            impulse_ns=1.0,
            level_db=0.0,
            pitch_hz=440.0,
            decay_s=0.2,
        )
        for number, strength in enumerate(strengths)
    )
    return ClipLabels(
        name="x",
        kind="drop",
        duration_s=4.0,
        material="wood",
        striker_material="metal",
        events=events,
        frictions=(),
    )


@pytest.mark.parametrize(
    ("strengths", "audible"),
    [
        ([], []),
        ([0.9, 0.71, 0.69, 0.8], [0.0, 0.1, 0.3]),  # 0.2 below the strongest is inaudible
        ([0.2, 0.13, 0.11], [0.0, 0.1]),  # below 0.12 is inaudible
        ([0.05], []),
    ],
)
def test_masked_events_are_left_out(strengths, audible):
    assert audible_events(labels(strengths)).tolist() == pytest.approx(audible)


def test_missing_codec_is_reported(simulated_data, tmp_path):
    config = recipe_named("align", "smoke").windows
    with pytest.raises(CheckpointError, match="nowhere"):
        window_source(
            simulated_data, "validation", codec_folder=tmp_path / "nowhere", config=config
        )


def test_latents_are_cached_for_each_codec(smoke_runs, simulated_data, tmp_path):
    config = recipe_named("align", "smoke").windows
    folder = smoke_runs / "codec/model"
    before = sorted(simulated_data.glob(".latents-validation-*"))
    source = window_source(simulated_data, "validation", codec_folder=folder, config=config)
    assert sorted(simulated_data.glob(".latents-validation-*")) == before and before
    clips = clip_arrays(cache_frames(simulated_data, "validation"))
    wanted = encode_sounds(load_codec(folder), clips.sounds)
    np.testing.assert_allclose(source.latents, wanted, atol=2e-2)
    assert wanted.shape == (4, 60, 64)
    # A codec with other weights has its own cache.
    merge_models([folder], tmp_path / "model")
    codec = load_codec(folder)
    with torch.no_grad():
        codec.latent_mean += 1.0
    record = read_record(folder, "codec")
    save_component(tmp_path / "model", "codec", module=codec, config=record.config, provenance={})
    other = window_source(
        simulated_data, "validation", codec_folder=tmp_path / "model", config=config
    )
    assert len(list(simulated_data.glob(".latents-validation-*"))) == len(before) + 1
    assert not np.allclose(other.latents, source.latents, atol=0.1)


def test_resampled_latents_are_those_of_the_resampled_sounds(smoke_runs, simulated_data):
    folder = smoke_runs / "codec/model"
    split = Split.at(simulated_data, "validation")
    found = codec_latents(split, folder, resampled=True)
    codec = load_codec(folder)
    wanted = encode_sounds(codec, mono_sounds(split, codec.config.rate_hz))
    np.testing.assert_array_equal(found, wanted)


def test_codec_of_another_rate_is_rejected(smoke_runs, simulated_data, tmp_path):
    folder = smoke_runs / "codec/model"
    record, codec = read_record(folder, "codec"), load_codec(folder)
    config = {**record.config, "rate_hz": 24_000}
    save_component(tmp_path, "codec", module=codec, config=config, provenance={})
    with pytest.raises(DataError, match="expects 24000 Hz, the clips have 48000 Hz"):
        codec_latents(Split.at(simulated_data, "validation"), tmp_path)
