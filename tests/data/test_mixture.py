"""Several data sets in one training: weights, balanced labels, and joined arrays."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from support.cli_model import losses, run_cli, settings_flags

from foleyflow.data.joining import JoinedRows, join_rows, join_windows
from foleyflow.data.mixture import (
    DataMixture,
    WeightedIndices,
    clip_sampling,
    label_weights,
    labels_of,
)
from foleyflow.data.shards import write_shard
from foleyflow.data.windows import ClipArrays, WindowConfig, WindowSource
from foleyflow.errors import ConfigError, DataError
from foleyflow.weights import read_record

RATE_HZ, CLIP_S = 1000, 3.2


def make_list(root: Path, **splits: list[tuple[str, str]]) -> Path:
    """A data set of (video, label) clips without content, for tests that decode nothing."""
    for split, clips in splits.items():
        (root / split).mkdir(parents=True)
        rows = [
            (f"{video}_{k}", b"", {"id": f"{split}/{k}", "kind": label, "video_id": video})
            for k, (video, label) in enumerate(clips)
        ]
        write_shard(root / split / "shard-000000.tar", rows, "plan")
    manifest = {
        "format": "foleyflow-shards-1",
        "duration_s": 8.0,
        "settings": {},
        "splits": {split: len(clips) for split, clips in splits.items()},
    }
    (root / "manifest.json").write_text(json.dumps(manifest))
    return root


def source(seed: int, *, clips: int, rate_hz: float, seconds: float = CLIP_S) -> WindowSource:
    """Clips whose frames, sounds and latents are noise."""
    rng, frames = np.random.default_rng(seed), round(seconds * rate_hz)
    arrays = ClipArrays(
        frames=rng.integers(0, 256, (clips * frames, 4, 4, 3)).astype(np.uint8),
        times_s=np.tile(np.arange(frames) / rate_hz, clips),
        offsets=np.arange(clips + 1) * frames,
        sounds=rng.integers(-99, 99, (clips, round(seconds * RATE_HZ))).astype(np.int16),
        rate_hz=RATE_HZ,
        event_times_s=[np.array([0.1 * clip]) for clip in range(clips)],
        materials=np.arange(clips),
    )
    latents = rng.normal(size=(clips, round(50 * seconds), 2)).astype(np.float16)
    return WindowSource(arrays, latents, WindowConfig(segments=10))


def test_weights_are_parsed_and_checked(tmp_path):
    mixture = DataMixture.parse(["data/a", Path("data/b=0.5"), "data/c=2"])
    assert mixture.folders == (Path("data/a"), Path("data/b"), Path("data/c"))
    assert mixture.weights == (1.0, 0.5, 2.0)
    assert mixture.fractions == pytest.approx((2 / 7, 1 / 7, 4 / 7))
    assert mixture.record == {"data/a": 1.0, "data/b": 0.5, "data/c": 2.0}
    assert DataMixture.parse(["data/a=0.3"]).record == "data/a"
    (tmp_path / "x=1").mkdir()
    assert DataMixture.parse([tmp_path / "x=1"]).folders == (tmp_path / "x=1",)
    for names, match in (
        (["a=0"], "above 0"),
        (["a=nan"], "above 0"),
        (["a=much"], "'much' is not a number"),
        (["a", "a=2"], "each of them once"),
    ):
        with pytest.raises(ConfigError, match=match):
            DataMixture.parse(names)


def test_joined_rows_read_like_concatenated_arrays():
    rng = np.random.default_rng(0)
    parts = [rng.normal(size=(count, 5, 2)).astype(np.float16) for count in (4, 1, 7)]
    joined, copied = JoinedRows(parts), np.concatenate(parts)
    assert (joined.shape, joined.dtype, joined.ndim) == ((12, 5, 2), np.float16, 3)
    assert len(joined) == 12
    np.testing.assert_array_equal(np.asarray(joined, np.float32), copied)
    for index in (
        *(0, 3, 4, 5, 11, -1, np.int64(6)),
        *(
            slice(None),
            slice(1, 3),
            slice(2, 9),
            slice(0, 0),
            slice(None, None, 3),
            slice(-2, None),
        ),
        *(np.array([11, 0, 4, 4]), np.array([], np.int64), np.arange(12)),
        *((5, slice(1, 3)), (np.int64(4), slice(None), 1)),
    ):
        np.testing.assert_array_equal(joined[index], copied[index])
    assert np.shares_memory(joined[5:8], parts[2])  # a slice within one array is no copy
    with pytest.raises(IndexError):
        joined[12]
    assert join_rows(parts[:1], what="latents") is parts[0]
    with pytest.raises(DataError, match="different latents"):
        join_rows([parts[0], parts[1][:, :4]], what="latents")


def test_labels_of_audioset_are_separated_and_those_of_vggsound_are_not():
    assert labels_of("/m/068hy,/m/07q6cd_") == ("/m/068hy", "/m/07q6cd_")
    assert labels_of("race car, auto racing") == ("race car, auto racing",)
    assert labels_of("") == ("",)


def test_weights_of_labels_have_their_closed_form():
    labels = [("a",), ("a", "b"), ("a",), ("c", "c")]
    expected = [1 / 3.01, 1 / 3.01 + 1 / 1.01, 1 / 3.01, 1 / 1.01]
    assert label_weights(labels) == pytest.approx(expected)


def test_indices_occur_with_their_probabilities():
    rng, count, draws = np.random.default_rng(0), 6, 6000
    probabilities = np.array([0.0, 0.3, 0.1, 0.0, 0.05, 0.25, 0.3, 0.0])
    weighted = WeightedIndices(probabilities)
    samples = np.stack([weighted.sample(rng, count) for _ in range(draws)])
    assert (np.diff(samples, axis=1) >= 0).all()
    found = np.bincount(samples.flatten(), minlength=8)
    expected = draws * count * probabilities
    assert np.abs(found - expected).max() < 5 * np.sqrt(expected.max())
    assert found[[0, 3, 7]].tolist() == [0, 0, 0]
    # Each batch has the expected number of the first five within one.
    first = (samples < 5).sum(1)
    assert set(first) <= {2, 3} and first.mean() == pytest.approx(0.45 * count, abs=0.05)


def test_data_sets_are_sampled_by_their_weights_whatever_their_sizes(tmp_path):
    small = make_list(tmp_path / "small", train=[(f"s{k}", "x") for k in range(3)])
    large = make_list(tmp_path / "large", train=[(f"l{k}", "y") for k in range(50)])
    sampling = clip_sampling(DataMixture.parse([small, f"{large}=0.5"]))
    assert sampling.probabilities[:3] == pytest.approx(np.full(3, 2 / 9))
    assert sampling.probabilities[3:] == pytest.approx(np.full(50, 1 / 150))
    first, second = sampling.shares
    assert (first.fraction, first.clips, first.effective_clips) == (pytest.approx(2 / 3), 3, 3.0)
    assert (second.weight, second.clips, second.effective_clips) == (0.5, 50, 50.0)


@pytest.mark.parametrize(("balance", "power"), [(1.0, -1.0), (0.5, -0.5)])
def test_labels_are_balanced_by_the_exponent(tmp_path, balance, power):
    """At 1, all labels are equally frequent; at 0.5, clips have the square root of that weight."""
    counts = {"rare": 2, "usual": 10, "common": 40}
    clips = [(f"{label}{k}", label) for label, count in counts.items() for k in range(count)]
    data = DataMixture.of(make_list(tmp_path / "data", train=clips))
    sampling = clip_sampling(data, label_balance=balance)
    rng, draws, batch = np.random.default_rng(0), 4000, 5
    weighted = WeightedIndices(sampling.probabilities)
    seen = np.concatenate([weighted.sample(rng, batch) for _ in range(draws)])
    found = np.bincount(np.searchsorted([2, 12], seen, side="right"), minlength=3) / len(seen)
    weights = np.array([count * (count + 0.01) ** power for count in counts.values()])
    assert found == pytest.approx(weights / weights.sum(), abs=0.01)
    (share,) = sampling.shares
    assert (share.label_balance, share.labels, share.excluded) == (balance, 3, 0)
    assert share.effective_clips < 52


def test_clips_with_several_labels_get_the_weight_of_each(tmp_path):
    clips = [("a", "/m/1"), ("b", "/m/1,/m/2"), ("c", "/m/1")]
    data = DataMixture.of(make_list(tmp_path / "data", train=clips))
    weights = np.array([1 / 3.01, 1 / 3.01 + 1 / 1.01, 1 / 3.01])
    sampling = clip_sampling(data, label_balance=1.0)
    assert sampling.probabilities == pytest.approx(weights / weights.sum())


def test_videos_that_another_data_set_holds_out_are_never_sampled(tmp_path):
    one = make_list(
        tmp_path / "one",
        train=[("a", "x"), ("b", "x")],
        validation=[("v", "x")],
        test=[("t", "x"), ("a", "x")],  # a video of its own training split is another matter
    )
    other = make_list(tmp_path / "other", train=[("t", "y"), ("u", "y"), ("v", "y"), ("w", "y")])
    sampling = clip_sampling(DataMixture.parse([one, other]))
    assert sampling.probabilities.tolist() == [0.25, 0.25, 0.0, 0.25, 0.0, 0.25]
    assert [share.excluded for share in sampling.shares] == [0, 2]
    same = make_list(tmp_path / "same", train=[("t", "y")])
    with pytest.raises(ConfigError, match="another data set holds out"):
        clip_sampling(DataMixture.parse([one, same]))


def test_one_data_set_gives_the_batches_that_it_gives_alone(tmp_path):
    """Whatever its weight: neither its labels are read nor its windows changed."""
    sampling = clip_sampling(DataMixture.parse([f"{tmp_path}=0.7"]), label_balance=0.0)
    assert sampling.probabilities is None and sampling.shares == ()
    alone = source(1, clips=30, rate_hz=25)
    assert join_windows([alone], sampling.probabilities) is alone


def test_windows_of_joined_sources_are_those_of_each_source():
    parts = [source(1, clips=5, rate_hz=25), source(2, clips=7, rate_hz=10, seconds=4.0)]
    joined = join_windows(parts, np.full(12, 1 / 12))
    assert len(joined.clips) == 12 and joined.spare == parts[0].spare
    chosen, starts = np.array([4, 5, 11]), np.array([3, 0, 30])
    batch = joined.cut(chosen, starts, None)
    for item, (part, clip) in enumerate(((0, 4), (1, 0), (1, 6))):
        own = parts[part].cut(np.array([clip]), starts[item : item + 1], None)
        for name in ("sound", "latents", "onsets", "material"):
            assert torch.equal(batch[name][item], own[name][0]), name
        assert torch.equal(batch["pixels"][item][: own["pixels"].shape[1]], own["pixels"][0])
    assert batch["clip"].tolist() == chosen.tolist()


def test_joined_windows_are_sampled_by_their_probabilities_at_similar_frame_rates():
    parts = [source(1, clips=40, rate_hz=25), source(2, clips=70, rate_hz=10)]
    parts.append(source(3, clips=20, rate_hz=25))
    probabilities = np.concatenate(
        [np.full(40, 0.5 / 40), np.full(70, 0.2 / 70), np.full(20, 0.015)]
    )
    joined = join_windows(parts, probabilities)
    rng, draws, batch = np.random.default_rng(0), 3000, 4
    samples = np.stack([joined._sample_similar(rng, batch) for _ in range(draws)])
    found = np.bincount(samples.flatten(), minlength=130)
    expected = draws * batch * probabilities
    # A batch is no independent sample: the bound is five deviations of entire batches.
    for begin, end in ((0, 40), (40, 110), (110, 130)):
        bound = 5 * batch * np.sqrt(draws * probabilities[begin:end].sum())
        assert abs(found[begin:end].sum() - expected[begin:end].sum()) < bound
    assert np.abs(found - expected).max() < 5 * np.sqrt(batch * expected.max())
    is_slow = (samples >= 40) & (samples < 110)
    assert 0.9 < (is_slow.all(1) | ~is_slow.any(1)).mean()


def test_a_part_of_a_weighted_batch_is_part_of_the_full_one():
    """As two processes sample it, and a resumed run samples it again."""
    joined = join_windows(
        [source(1, clips=9, rate_hz=25), source(2, clips=9, rate_hz=25)],
        np.concatenate([np.full(9, 1 / 27), np.full(9, 2 / 27)]),
    )
    full = joined.draw(np.random.default_rng(7), 6)
    part = joined.draw(np.random.default_rng(7), 6, rows=np.array([1, 4]))
    for name, values in part.items():
        assert torch.equal(values, full[name][[1, 4]]), name


def train(task: str, run: Path, *options: str | Path) -> list[str | Path]:
    command = ["train", task, "--recipe", "smoke", "--device", "cpu", "--out", run]
    return [*command, *options]


def test_codec_aligner_and_flow_train_on_joined_data_sets(simulated_data, fresh_data, tmp_path):
    """On the command line; the record states the weights, and other ones can't resume the run."""
    data = ["--data", simulated_data, "--data", f"{fresh_data('other')}=0.5"]
    models: list[str] = []
    for task, settings in (("codec", ["from_clips=true"]), ("align", []), ("flow", ["views=2"])):
        if task != "codec":
            settings = [*settings, *models, "label_balance=1"]
        run = tmp_path / task
        outcome = run_cli(*train(task, run, *data, *settings_flags(*settings)))
        assert outcome.status == 0, outcome.stderr
        models.append(f"{task}={run / 'model'}")
        config = json.loads((run / "config.json").read_text())
        assert list(config["data"].values()) == [1.0, 0.5]
        shares = json.loads((run / "environment.json").read_text())["sampling"]
        assert [share["fraction"] for share in shares] == pytest.approx([2 / 3, 1 / 3])
        assert {share["label_balance"] for share in shares} == {0.0 if task == "codec" else 1.0}
        assert read_record(run / "model", task).provenance["sampling"] == shares
        assert losses(run)
    changed = ["--data", data[1], "--data", str(data[3]).replace("=0.5", "=0.25")]
    refused = run_cli(*train("flow", run, *changed, *settings_flags(*settings)))
    assert refused.status == 2 and "other settings: data" in refused.stderr


@pytest.mark.parametrize(
    ("task", "match"), [("judge", "got 2 data sets, expected one"), ("codec", "one folder")]
)
def test_what_cannot_join_data_sets_says_so(task, match, simulated_data, fresh_data, tmp_path):
    data = ["--data", simulated_data, "--data", fresh_data("other")]
    refused = run_cli(*train(task, tmp_path / "run", *data))
    assert refused.status == 2 and match in refused.stderr


def test_a_run_without_the_setting_can_be_resumed(simulated_data, tmp_path):
    """Runs of earlier versions have no `label_balance`, and the data set as text."""
    command = train("codec", tmp_path / "run", "--data", f"{simulated_data}=3")
    settings = settings_flags("from_clips=true")
    assert run_cli(*command, *settings).status == 0
    path = tmp_path / "run" / "config.json"
    config = json.loads(path.read_text())
    assert config["data"] == str(simulated_data)
    assert "sampling" not in json.loads((path.parent / "environment.json").read_text())
    del config["settings"]["label_balance"]
    path.write_text(json.dumps(config))
    assert run_cli(*command, *settings).status == 0
