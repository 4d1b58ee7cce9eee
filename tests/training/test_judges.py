"""Batches and losses of the judges' tasks, their smoke recipes, and the trained judges."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from support.cli_model import run_cli

from foleyflow.data.windows import ClipArrays, WindowConfig, WindowSource
from foleyflow.encoders.motion_encoder import MotionEncoder, MotionEncoderConfig
from foleyflow.errors import CheckpointError, ConfigError, DataError
from foleyflow.evaluation.folder import evaluate_folder
from foleyflow.features.frames import cache_frames
from foleyflow.features.mel_levels import compute_levels
from foleyflow.judges.adapters import SyncJudge, load_judge
from foleyflow.judges.audio_judges import TaggerJudge
from foleyflow.judges.networks.log_mel import JudgeLogMel
from foleyflow.judges.networks.sync import Sync, SyncConfig
from foleyflow.judges.networks.tagger import Tagger, TaggerConfig
from foleyflow.judges.weights import SHIPPED
from foleyflow.recipes import recipe_named
from foleyflow.signals import Frames
from foleyflow.training.tasks.sync import IGNORED, SyncLossConfig, SyncTask
from foleyflow.training.tasks.tagger import TaggedLevels, TaggerLossConfig, TaggerTask
from foleyflow.weights import file_sha256, read_record

RATE_HZ = 48_000


def rng(seed=0):
    return np.random.default_rng(seed)


# ---------------------------------------------------------------------------------- tagger


@pytest.fixture
def tagger_task():
    torch.manual_seed(0)
    config = TaggerConfig(
        materials=("wood", "metal", "nothing"), kinds=("drop", "roll"), widths=(4, 8, 8, 16)
    )
    kinds = np.arange(12) % 2
    materials = np.arange(12) % 3
    levels = rng().normal(-4, 0.3, (12, 80, 64))
    for index in range(12):  # a band per material, a rhythm per kind
        levels[index, :: (40 if kinds[index] else 8), 20 * materials[index] :][:, :10] += 4
    tagged = TaggedLevels(levels=levels.astype(np.float16), materials=materials, kinds=kinds)
    losses = TaggerLossConfig(crop_s=0.6, disturbance=0.3)
    return TaggerTask(Tagger(config), losses, train=tagged, validation=tagged)


def test_tagger_batches_are_reproducible_crops(tagger_task):
    batch = tagger_task.sample_batch(rng(1), 6)
    assert batch["levels"].shape == (6, 60, 64)
    again = tagger_task.sample_batch(rng(1), 6)
    assert all(torch.equal(batch[key], again[key]) for key in batch)


def test_tagger_learns_materials_and_kinds(tagger_task):
    model = tagger_task.modules["tagger"]
    optimiser = torch.optim.AdamW(model.parameters(), 5e-3)
    for step in range(60):
        optimiser.zero_grad()
        tagger_task.loss("tagger", tagger_task.sample_batch(rng(step), 12), step)[0].backward()
        optimiser.step()
    figures = tagger_task.validate({"tagger": model.eval()})
    assert figures["material_accuracy"] == 1.0
    assert figures["kind_accuracy"] > 0.9
    exported, config = tagger_task.export({"tagger": model})["tagger"]
    assert exported is model and config["materials"] == ("wood", "metal", "nothing")


# ---------------------------------------------------------------------------------- sync


def clip_arrays(count=6, *, silent=(0,), seconds=2.4):
    """Clips with simultaneous flashes and clicks, some without any event."""
    frames_per_clip = round(25 * seconds)
    times_s = np.tile(np.arange(frames_per_clip) / 25, count)
    frames = np.full((count * frames_per_clip, 32, 32, 3), 90, np.uint8)
    sounds = rng().integers(-3, 4, (count, round(RATE_HZ * seconds))).astype(np.int16)
    events = []
    for clip in range(count):
        own = np.zeros(0) if clip in silent else rng(clip).uniform(0.1, seconds - 0.1, 4)
        own = np.sort(own)
        for event_s in own:
            frames[clip * frames_per_clip + int(event_s * 25) :][:3] = 200
            start = round(event_s * RATE_HZ)
            sounds[clip, start : start + 480] += 9000
        events.append(own)
    return ClipArrays(
        frames=frames,
        times_s=times_s,
        offsets=np.arange(count + 1) * frames_per_clip,
        sounds=sounds,
        rate_hz=RATE_HZ,
        event_times_s=events,
        materials=np.zeros(count, np.int64),
    )


def make_sync_task(losses=None, **settings):
    torch.manual_seed(0)
    clips = clip_arrays(**settings)
    windows = WindowSource(
        clips,
        np.zeros((len(clips), 30 * 4, 0), np.float16),
        WindowConfig(segments=16, neighbours=2, augment=False),
    )
    levels = compute_levels(clips.sounds, JudgeLogMel())
    encoder = MotionEncoder(
        MotionEncoderConfig(size=16, widths=(4, 4, 8), dim=8, changes=2, reach=1)
    )
    config = SyncConfig(window_s=1.28, hop_s=0.32, longest_lag_s=0.8, width=16, heads=2)
    return SyncTask(
        Sync(config, encoder=encoder),
        losses or SyncLossConfig(largest_shift_s=1.0),
        windows=windows,
        levels=levels,
        validation_windows=windows,
        validation_levels=levels,
    )


def test_shifts_are_in_range_and_a_third_are_small():
    task = make_sync_task(silent=())
    sizes_s = []
    for seed in range(40):
        starts = task.sample_batch(rng(seed), 6)["starts"].numpy()
        sizes_s += list(np.abs(starts[:, 1] - starts[:, 0]) / 50)
        assert starts.min() >= 0 and starts.max() <= 120 - 64
    sizes_s = np.array(sizes_s)
    assert sizes_s.min() >= 0.12 - 1e-9 and sizes_s.max() <= 1.0 + 1e-9
    assert 0.25 < (sizes_s < 0.32).mean() < 0.42


def test_pairs_without_events_are_ignored():
    task = make_sync_task(silent=(0, 1, 2, 3, 4, 5))
    answers = task.sample_batch(rng(), 6)["classes"]
    assert answers[:, 0].eq(0).all()
    assert answers[:, 1:].eq(IGNORED).all()
    answers = make_sync_task(silent=()).sample_batch(rng(), 6)["classes"]
    assert answers.tolist() == [[0, 1, 2]] * 6


def test_onset_targets_match_each_window():
    task = make_sync_task(silent=())
    batch = task.sample_batch(rng(3), 4)
    assert batch["sound_onsets"].shape == (4, 120) and batch["video_onsets"].shape == (4, 64)
    for row in range(4):
        start = int(batch["starts"][row, 0])
        torch.testing.assert_close(
            batch["video_onsets"][row], batch["sound_onsets"][row, start : start + 64]
        )


def test_synchrony_judge_learns_clicks_and_flashes():
    task = make_sync_task(SyncLossConfig(largest_shift_s=1.0, augment=False, disturbance=0.0))
    model = task.modules["sync"]
    optimiser = torch.optim.AdamW(model.parameters(), 4e-3)
    first = None
    for step in range(60):
        optimiser.zero_grad()
        loss, figures = task.loss("sync", task.sample_batch(rng(step), 6), step)
        loss.backward()
        optimiser.step()
        first = first or figures
    for name in ("video_onsets", "sound_onsets"):
        assert figures[name] < 0.4 * first[name]
    assert figures["pair"] < 0.9
    figures = task.validate({"sync": model.eval()})
    assert figures["balanced_accuracy"] > 0.65
    assert figures["balanced_accuracy"] == pytest.approx(
        (
            figures["true_positive"]
            + 1
            - (figures["shifted_false_positive"] + figures["other_false_positive"]) / 2
        )
        / 2
    )


def test_shifts_out_of_order_are_rejected():
    with pytest.raises(
        ConfigError, match="expected three numbers of seconds above 0 in ascending order"
    ):
        SyncLossConfig(small_shift_s=0.1)


# ---------------------------------------------------------------------------------- judges


def test_tagger_judge_accepts_sounds_of_any_length(tagger_task):
    judge = TaggerJudge(tagger_task.modules["tagger"].eval(), "00")
    for seconds, pieces in ((0.3, 1), (1.0, 1), (4.0, 4)):
        sound = rng().uniform(-0.5, 0.5, round(seconds * RATE_HZ)).astype(np.float32)
        assert judge.embed(sound).shape == (pieces, 64)
        assert judge.logits(sound).shape == (6,)
        assert np.exp(judge.logits(sound)).sum() == pytest.approx(1.0, abs=1e-5)
    assert np.isfinite(judge.logits(np.zeros(RATE_HZ, np.float32))).all()
    with pytest.raises(ValueError, match=r"100 samples at 48000 Hz, expected 0\.1 s"):
        judge.logits(np.zeros(100, np.float32))


def test_pairs_are_judged_in_windows():
    judge = SyncJudge(make_sync_task().modules["sync"].eval(), "00")
    pixels = rng().integers(0, 255, (60, 112, 112, 3)).astype(np.uint8)
    frames = Frames(pixels=pixels, times_s=np.arange(60) / 25)
    sound = rng().uniform(-0.5, 0.5, round(2.4 * RATE_HZ)).astype(np.float32)
    probability = judge.score(frames, sound)
    assert 0 < probability < 1
    assert judge.score(frames, 0.5 * sound) == pytest.approx(probability, abs=0.02)
    assert judge.score(frames, sound[: round(1.5 * RATE_HZ)]) != probability
    # A video is encoded once for all of its sounds.
    seen, encode_video = [], judge._network.encode_video
    judge._network.encode_video = lambda *how: seen.append(1) or encode_video(*how)
    again = Frames(pixels=pixels, times_s=frames.times_s)
    assert [judge.score(again, sound) for _ in range(2)] == pytest.approx([probability] * 2)
    assert len(seen) == 1
    # Only the common duration is compared.
    longer = np.concatenate([sound, np.zeros(RATE_HZ, np.float32)])
    assert judge.score(frames, longer) == pytest.approx(probability, abs=1e-4)
    with pytest.raises(ValueError, match=r"2.40 s of video with 1.00 s of sound.*needs 1.28 s"):
        judge.score(frames, sound[:RATE_HZ])


@pytest.fixture(scope="module")
def judge_models(simulated_data, tmp_path_factory):
    """Model folders of both judges, trained with their smoke recipes on the command line."""
    runs = tmp_path_factory.mktemp("judges")
    for name in ("smoke", "smoke-sync"):
        command = ("train", "judge", "--recipe", name, "--device", "cpu", "--json")
        outcome = run_cli(*command, "--data", simulated_data, "--out", runs / name)
        assert outcome.status == 0, outcome.stderr
        assert outcome.answer["components"] == ["sync" if name == "smoke-sync" else "tagger"]
    return {"tagger-sim": runs / "smoke/model", "sync-sim": runs / "smoke-sync/model"}


def test_smoke_runs_export_judges_with_provenance(judge_models):
    for name, folder in judge_models.items():
        component = name.removesuffix("-sim")
        record = read_record(folder, component)
        assert record.provenance["task"] == "judge"
        assert any(key.startswith("validation/") for key in record.provenance["validation"])
        judge = load_judge(name, folder)
        assert judge.name == name
        assert judge.weights_sha256 == file_sha256(folder / f"{component}.safetensors")


@pytest.mark.parametrize("component", ["tagger", "sync"])
def test_init_starts_from_the_weights_of_a_judge(judge_models, simulated_data, tmp_path, component):
    initial = judge_models[f"{component}-sim"]
    command = ("train", "judge", "--recipe", "smoke" if component == "tagger" else "smoke-sync")
    steps = ("--set", "train.steps=1", "--set", "train.learning_rate=1e-12")
    common = ("--device", "cpu", "--json", "--data", simulated_data, "--init", initial)
    outcome = run_cli(*command, *steps, *common, "--out", tmp_path / "on")
    assert outcome.status == 0, outcome.stderr
    on = tmp_path / "on" / "model"
    record = read_record(on, component)
    assert record.provenance["init"] == {component: read_record(initial, component).sha256}
    first, second = (load_file(folder / f"{component}.safetensors") for folder in (initial, on))
    learnt = [name for name in first if "running_" not in name and "num_batches" not in name]
    assert learnt and all(torch.equal(first[name], second[name]) for name in learnt)


def test_init_rejects_the_other_judge(judge_models, simulated_data, tmp_path):
    command = ("train", "judge", "--recipe", "smoke", "--data", simulated_data)
    outcome = run_cli(*command, "--init", judge_models["sync-sim"], "--out", tmp_path / "on")
    assert outcome.status == 2
    assert "holds ['sync'], expected a component 'tagger'" in outcome.stderr


def test_sim_metrics_on_simulated_clips(judge_models, simulated_data, tmp_path):
    from foleyflow.weights import merge_models

    merge_models(list(judge_models.values()), tmp_path / "judges")
    clips = ("evaluate", simulated_data / "validation", simulated_data / "validation")
    patterns = ("--generated-pattern", "{case}.flac", "--reference-pattern", "{case}.flac")
    metrics = ("--metrics", "KLD-sim,FAD-sim,AlignAcc-sim", "--judges", tmp_path / "judges")
    outcome = run_cli(*clips, *patterns, *metrics, "--json")
    assert outcome.status == 0, outcome.stderr
    scores = outcome.answer["scores"]
    assert scores["KLD-sim"]["rows"]["generated"]["value"] == pytest.approx(0, abs=1e-9)
    assert scores["FAD-sim"]["rows"]["generated"]["value"] == pytest.approx(0, abs=1e-6)
    agreement = scores["AlignAcc-sim"]
    assert {"generated", "true", "silence", "noise", "other", "shifted"} <= agreement["rows"].keys()
    assert agreement["rows"]["generated"] == agreement["rows"]["true"]
    remark = agreement["remarks"][0]
    assert remark.startswith("false positives, on true sounds: ")
    assert "shifted pairs" in remark and "swapped pairs" in remark
    assert agreement["judge"]["name"] == "sync-sim"
    text = run_cli(*clips, *patterns, *metrics).stdout
    assert "[shifted true sound]" in text and "not comparable" not in text


def test_pairs_without_a_video_are_reported(judge_models, tmp_path):
    import soundfile

    for side in ("made", "true"):
        (tmp_path / side).mkdir()
        soundfile.write(tmp_path / side / "a.wav", rng().uniform(-0.5, 0.5, RATE_HZ), RATE_HZ)
    judges = {"sync-sim": load_judge("sync-sim", judge_models["sync-sim"])}
    metrics = ["AlignAcc-sim"]
    report = evaluate_folder(tmp_path / "made", tmp_path / "true", metrics=metrics, judges=judges)
    score = report.scores["AlignAcc-sim"]
    assert score.figures == {}
    assert score.left_out == {
        "a": "there is no video of it, neither among the references nor among the results"
    }


@pytest.mark.parametrize("name", ["tagger", "sync"])
def test_missing_weights_are_reported(tmp_path, monkeypatch, name):
    monkeypatch.setattr("foleyflow.judges.weights.SHIPPED", tmp_path / "assets")
    with pytest.raises(
        CheckpointError, match=f"'{name}-sim': weights not found, expected .*{name}.safetensors"
    ) as caught:
        load_judge(f"{name}-sim", tmp_path)
    assert f"foleyflow train judge --recipe {name}" in caught.value.hint


def test_shipped_judges_are_small():
    files = list(SHIPPED.glob("*.safetensors"))
    assert sum(file.stat().st_size for file in files) <= 10_000_000


def test_unknown_kinds_and_rates_are_rejected(simulated_data):
    recipe = recipe_named("judge", "smoke")
    narrow = replace(recipe, model=replace(recipe.model, kinds=("roll",)))
    with pytest.raises(DataError, match="not among the recipe's kinds"):
        narrow.build(simulated_data)
    cache = replace(cache_frames(simulated_data, "validation"), rate_hz=44_100)
    with pytest.raises(DataError, match="sounds at 44100 Hz: the judges expect 48000 Hz"):
        recipe._tagged(cache)


def test_config_of_another_version_is_rejected(judge_models, tmp_path):
    import shutil

    folder = tmp_path / "judges"
    shutil.copytree(judge_models["sync-sim"], folder)
    content = json.loads((folder / "config.json").read_text())
    content["components"]["sync"]["config"]["model"]["colour"] = 1
    (folder / "config.json").write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match=r"config of 'sync': .*colour"):
        load_judge("sync-sim", folder)
