"""Cached windows of the flow: views, and resumption of an interrupted computation."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from foleyflow.codec.feature_codec import FeatureCodec, FeatureCodecConfig
from foleyflow.codec.vocoder import GriffinLim
from foleyflow.errors import ConfigError
from foleyflow.features.flow_conditions import ConditionWindows, FlowConditions, window_blocks
from foleyflow.recipes import recipe_named
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
