"""Cached windows of the flow: views, and resumption of an interrupted computation."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from foleyflow.alignment.model import Alignment
from foleyflow.codec.feature_codec import FeatureCodec, FeatureCodecConfig
from foleyflow.codec.vocoder import GriffinLim
from foleyflow.data.clips import open_split
from foleyflow.encoders.motion_encoder import MotionEncoder
from foleyflow.errors import ConfigError
from foleyflow.features.flow_conditions import ConditionWindows, FlowConditions, window_blocks
from foleyflow.inference.feature_stream import FeatureStream
from foleyflow.inference.feature_stream import window_conditions as stream_conditions
from foleyflow.pretrained import load_aligner
from foleyflow.recipes import recipe_named
from foleyflow.system.stopwatch import Stopwatch
from foleyflow.weights import save_component

VIEWS = 3


@pytest.fixture
def conditions_in(fresh_data, smoke_runs):
    """The conditions of the smoke runs on a fresh copy of the data."""

    def create(name: str) -> FlowConditions:
        return FlowConditions(
            data=fresh_data(name),
            windows=recipe_named("flow", "smoke").windows,
            codec=str(smoke_runs / "codec/model"),
            align=str(smoke_runs / "align/model"),
        )

    return create


def test_interrupted_windows_resume_with_the_same_augmentation(conditions_in):
    computed = []

    def stopping_map(work, blocks):
        for block in blocks:
            if len(computed) == 8:  # six clips, then the second block of windows
                raise KeyboardInterrupt
            computed.append(block)
            yield work(block)

    stopped, undisturbed = conditions_in("stopped"), conditions_in("undisturbed")
    with pytest.raises(KeyboardInterrupt):
        stopped.open_windows("train", VIEWS, parallel_map=stopping_map)
    source = stopped.source("train")
    assert len(list(window_blocks(source, VIEWS))) == VIEWS  # one block per view
    resumed = stopped.open_windows("train", VIEWS)
    wanted = undisturbed.open_windows("train", VIEWS)
    for name in ConditionWindows.__dataclass_fields__:
        values = getattr(wanted, name)
        np.testing.assert_array_equal(getattr(resumed, name), values, err_msg=name)
        assert len(values) == VIEWS * len(source.clips)
    views = wanted.video.reshape(VIEWS, len(source.clips), *wanted.video.shape[1:])
    assert not np.array_equal(views[0], views[1]) and not np.array_equal(views[1], views[2])


def test_other_views_and_splits_have_their_own_windows(conditions_in):
    conditions = conditions_in("data")
    keys = {conditions.key(split, views) for split in ("train", "validation") for views in (1, 2)}
    assert len(keys) == 4


def test_features_as_latents_need_an_aligner_over_published_encoders(conditions_in, tmp_path):
    shape = FeatureCodecConfig(
        published="audiomae", channels=4, width=8, blocks=1, fine_width=8, fine_blocks=1
    )
    config = {"mel_decoder": dataclasses.asdict(shape), "vocoder": None}
    codec = FeatureCodec(shape, GriffinLim())
    save_component(tmp_path, "codec", module=codec, config=config, provenance={"test": True})
    conditions = dataclasses.replace(conditions_in("data"), codec=str(tmp_path))
    with pytest.raises(ConfigError, match="an aligner with its own video encoder"):
        conditions.source("train")


def test_windows_have_the_frames_that_the_encoder_of_the_aligner_needs(
    conditions_in, smoke_runs, tmp_path
):
    """A flow could not be trained over an encoder that reaches further than four frames."""
    smoke = load_aligner(smoke_runs / "align/model")
    shape = dataclasses.replace(smoke.encoder.config, middle_reach=1)
    torch.manual_seed(0)
    aligner = Alignment(smoke.config, encoder=MotionEncoder(shape)).eval()
    assert shape.window // 2 > recipe_named("flow", "smoke").windows.neighbours
    config = {"model": dataclasses.asdict(smoke.config), "encoder": dataclasses.asdict(shape)}
    save_component(tmp_path, "align", module=aligner, config=config, provenance={"test": True})
    conditions = dataclasses.replace(conditions_in("data"), align=str(tmp_path))
    windows = conditions.open_windows("validation", 1)
    # The same features as in inference, which encodes the complete clip
    clips, segments = open_split(conditions.data, "validation"), conditions.windows.segments
    for index in range(len(windows.clip)):
        frames = clips.load(int(windows.clip[index])).frames
        stream = FeatureStream(
            load_aligner(tmp_path).eval(),
            zip(frames.times_s.tolist(), frames.pixels, strict=True),
            Stopwatch(),
        )
        start = round(windows.start_s[index] / smoke.config.segment_s)
        cuts = [(start, segments, segments)]
        ((_, _, _, found),) = stream_conditions(
            aligner, stream, cuts, Stopwatch(), lambda end: None
        )
        np.testing.assert_allclose(
            windows.video[index], found.video[0].detach().numpy(), atol=0.05, rtol=0.05
        )
