"""Batches, losses, validation and export of the tasks, on small arrays."""

from __future__ import annotations

import copy
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from support.cli_model import losses

from foleyflow.alignment.model import Alignment, AlignmentConfig
from foleyflow.alignment.targets import SlowStudent
from foleyflow.codec.autoencoder import Codec, CodecConfig
from foleyflow.data.windows import ClipArrays, WindowConfig, WindowSource
from foleyflow.encoders.motion_encoder import MotionEncoder, MotionEncoderConfig
from foleyflow.errors import ConfigError, DataError, TrainingError
from foleyflow.features.flow_conditions import ConditionWindows
from foleyflow.flow.objective import ObjectiveConfig
from foleyflow.flow.transformer import FlowConfig, FlowTransformer
from foleyflow.training.checkpoint import STATE_NAME
from foleyflow.training.journal import read_journal
from foleyflow.training.loop import train
from foleyflow.training.task import TrainConfig
from foleyflow.training.tasks.alignment import AlignLossConfig, AlignTask
from foleyflow.training.tasks.alignment_validation import best_onset_f1
from foleyflow.training.tasks.codec import CodecLossConfig, CodecTask
from foleyflow.training.tasks.flow import FlowStageConfig, FlowTask
from foleyflow.training.tasks.flow_batches import (
    ContextConfig,
    FlowData,
    prepare,
    read_windows,
)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


# ---------------------------------------------------------------------------------- codec


@pytest.fixture(scope="module")
def codec_task():
    torch.manual_seed(0)
    config = CodecConfig(
        channels=4, encoder_width=8, encoder_blocks=1, decoder_width=8, decoder_blocks=1
    )
    sounds = rng().integers(-9000, 9000, (6, 19_200)).astype(np.int16)
    return CodecTask(
        Codec(config), CodecLossConfig(crop_s=0.1), sounds=sounds[:4], validation_sounds=sounds[4:]
    )


def test_crops_are_scaled_parts_of_the_sounds(codec_task):
    crops = codec_task.sample_batch(rng(1), 5)["sound"]
    assert crops.shape == (5, 4800) and crops.dtype == torch.float32
    assert torch.equal(crops, codec_task.sample_batch(rng(1), 5)["sound"])
    assert not torch.equal(crops, codec_task.sample_batch(rng(2), 5)["sound"])
    for crop in crops.numpy():
        # Some part of a sound is equal up to a factor: a correlation of 1.
        best = 0.0
        for sound in codec_task._sounds.astype(np.float64):
            windows = np.lib.stride_tricks.sliding_window_view(sound, 32)
            scale = np.linalg.norm(windows, axis=1) * np.linalg.norm(crop[:32])
            best = max(best, np.abs(windows @ crop[:32] / scale).max())
        assert best == pytest.approx(1.0, abs=1e-4)
        assert 10 ** (-15 / 20) * 0.8 < np.abs(crop).max() * 32767 / 9000 < 10 ** (3 / 20) * 1.01


def test_exported_codec_has_standardised_latents(codec_task):
    with torch.no_grad():
        exported, config = codec_task.export(codec_task.modules)["codec"]
        latents = exported.encode(codec_task.sample_batch(rng(7), 64)["sound"])
    assert config["channels"] == 4
    np.testing.assert_allclose(latents.mean((0, 1)), 0, atol=0.15)
    np.testing.assert_allclose(latents.std((0, 1)), 1, atol=0.15)


def test_decoder_only_training_keeps_the_latents(codec_task):
    codec = copy.deepcopy(codec_task.modules["codec"])
    codec.latent_mean.fill_(0.5)
    sounds = codec_task._sounds
    task = CodecTask(
        codec, codec_task.losses, sounds=sounds, validation_sounds=sounds, decoder_only=True
    )
    before = {name: value.clone() for name, value in codec.state_dict().items()}
    optimiser = torch.optim.SGD(codec.parameters(), 0.1)
    task.loss("codec", task.sample_batch(rng(), 2), 0)[0].backward()
    optimiser.step()
    with torch.no_grad():
        exported, _ = task.export(task.modules)["codec"]
    moved = {f"decoder.{name}" for name, _ in codec.decoder.named_parameters()}
    for name, value in exported.state_dict().items():
        assert torch.equal(value, before[name]) == (name not in moved), name


def test_validation_of_the_codec_is_deterministic(codec_task):
    with torch.no_grad():
        torch.manual_seed(1)
        one = codec_task.validate(codec_task.modules)
        torch.manual_seed(2)
        assert codec_task.validate(codec_task.modules) == one
    assert one.keys() == {"mel", "spectral", "envelope"}


# ---------------------------------------------------------------------------------- align

ALIGN = AlignmentConfig(width=16, heads=2, video_layers=1, audio_layers=1, decoder_layers=1)


@pytest.fixture(scope="module")
def align_task():
    count, frames, samples = 5, 30, round(1.2 * 48_000)
    clips = ClipArrays(
        frames=rng().integers(0, 256, (count * frames, 32, 32, 3)).astype(np.uint8),
        times_s=np.tile(np.arange(frames) / 25.0, count),
        offsets=np.arange(count + 1) * frames,
        sounds=rng().integers(-9000, 9000, (count, samples)).astype(np.int16),
        rate_hz=48_000,
        event_times_s=[np.array([0.3 + 0.1 * clip]) for clip in range(count)],
        materials=np.array([0, 1, 2, -1, 8]),
    )
    latents = (3.0 + 2.0 * rng().normal(size=(count, 60, 64))).astype(np.float16)
    source = WindowSource(clips, latents, WindowConfig(segments=10))
    return AlignTask(
        fresh_aligner(contrast_width=8),
        AlignLossConfig(material=0.1, contrast=0.01, stretches=0.01),
        windows=source,
        held_out_windows=source,
    )


def fresh_aligner(**settings) -> Alignment:
    torch.manual_seed(0)
    encoder = MotionEncoder(MotionEncoderConfig(size=32, widths=(4, 4, 8), dim=16))
    return Alignment(replace(ALIGN, **settings), encoder=encoder)


def with_losses(task: AlignTask, losses: AlignLossConfig, **settings) -> AlignTask:
    """A task on the same clips with a new model and other losses."""
    model = fresh_aligner(**settings)
    return AlignTask(model, losses, windows=task.windows, held_out_windows=task.windows)


def test_targets_of_the_aligner_are_standardised(align_task):
    model = align_task.modules["align"]
    np.testing.assert_allclose(model.target_mean, 3.0, atol=0.6)
    np.testing.assert_allclose(model.target_deviation, 2.0, atol=0.5)
    batch = align_task.sample_batch(rng(), 4)
    latents = align_task._target(batch, torch.zeros(0))
    assert float(latents.mean()) == pytest.approx(0.0, abs=0.1)
    assert float(latents.std()) == pytest.approx(1.0, abs=0.1)


def test_loss_of_the_aligner_is_the_weighted_sum_of_its_terms(align_task):
    torch.manual_seed(3)
    loss, figures = align_task.loss("align", align_task.sample_batch(rng(), 4), 0)
    terms = {"latent", "mel", "energy", "onset", "material", "contrast", "stretches"}
    assert figures["contrast_chance"] == pytest.approx(np.log(3 * 4))
    assert figures.keys() == terms | {"visible_fraction", "contrast_chance"}
    wanted = sum(getattr(align_task.losses, name) * figures[name] for name in terms)
    assert float(loss.detach()) == pytest.approx(wanted, rel=1e-4)
    loss.backward()
    without = [
        name
        for name, p in align_task.modules["align"].named_parameters()
        if p.grad is None or not bool(torch.isfinite(p.grad).all())
    ]
    assert without == []


def test_batch_without_materials_has_no_material_loss(align_task):
    batch = align_task.sample_batch(rng(), 4)
    batch["material"][:] = -1
    _, figures = align_task.loss("align", batch, 0)
    assert figures["material"] == 0.0


def test_validation_of_the_aligner(align_task):
    with torch.no_grad():
        figures = align_task.validate(align_task.modules)
        assert align_task.validate(align_task.modules) == figures
    assert {"r2", "r2_gain", "onset_f1", "material_accuracy", "video_deviation"} <= figures.keys()
    assert {"r2_shift_-200ms", "r2_shift_+0ms", "r2_shift_+200ms"} <= figures.keys()
    assert {"r2_distance_1", "r2_gain_masked", "r2_gain_energy", "collapsed"} <= figures.keys()
    assert all(np.isfinite(value) for value in figures.values())
    assert figures["contrast_chance"] == pytest.approx(np.log(3 * 16))
    assert {"contrast", "stretches"} <= figures.keys()


def test_visible_fraction_of_a_step_and_of_validation(align_task):
    """A step has fully masked samples, validation has none."""
    for fraction, wanted in ((0.5, 0.1), (0.0, 0.2), (1.0, 0.0)):
        losses = AlignLossConfig(fully_masked_fraction=fraction)
        task = with_losses(align_task, losses)
        torch.manual_seed(0)
        with torch.no_grad():
            _, figures = task.loss("align", task.sample_batch(rng(), 40), 0)
        assert figures["visible_fraction"] == pytest.approx(wanted, abs=0.02)
    with torch.no_grad():
        validated = task.validate(task.modules)
    assert validated["visible_fraction"] == pytest.approx(0.2, abs=0.02)


def test_terms_without_a_weight_are_not_computed(align_task):
    task = with_losses(align_task, AlignLossConfig(latent=0, mel=0, energy=0))
    model = task.modules["align"]
    loss, figures = task.loss("align", task.sample_batch(rng(), 4), 0)
    loss.backward()
    assert figures.keys() == {"onset", "visible_fraction"}
    assert model.latent_head.weight.grad is None and model.mel_head.weight.grad is None
    assert bool(model.onset_head.weight.grad.any())


def test_contrast_alone_does_not_train_the_decoder(align_task):
    losses = AlignLossConfig(latent=0, mel=0, energy=0, onset=0, contrast=1, stretches=1)
    task = with_losses(align_task, losses, contrast_width=8)
    model = task.modules["align"]
    loss, figures = task.loss("align", task.sample_batch(rng(), 4), 0)
    loss.backward()
    assert figures.keys() == {"contrast", "stretches", "contrast_chance"}
    assert all(p.grad is None for p in model.decoder_blocks.parameters())
    assert all(p.grad is not None for p in model.audio_blocks.parameters())
    assert all(p.grad is not None for p in model.encoder.parameters())


def test_contrast_requires_a_contrast_space(align_task):
    with pytest.raises(ConfigError, match=r"losses.contrast=1, .*no contrast space") as caught:
        with_losses(align_task, AlignLossConfig(contrast=1))
    assert "contrast_width" in caught.value.hint


@pytest.mark.parametrize(
    "settings",
    [
        {"ratio": 1.2},
        {"fully_masked_fraction": -0.1},
        {"masks_per_clip": 0},
        {"longest_block": 0},
        {"contrast_parts": 0},
        {"contrast_parts": 1, "stretches": 1.0},
    ],
)
def test_settings_out_of_range_are_rejected(settings):
    with pytest.raises(ConfigError, match=r"losses: .*expected"):
        AlignLossConfig(**settings)


def test_onset_target_is_the_sound_or_the_labels(align_task):
    batch = align_task.sample_batch(rng(), 4)
    other = {**batch, "onsets": 1 - batch["onsets"]}
    for source, changes in (("sound", False), ("labels", True)):
        task = with_losses(align_task, AlignLossConfig(onset_from=source))
        figures = []
        for shown in (batch, other):
            torch.manual_seed(0)
            figures.append(task.loss("align", shown, 0)[1]["onset"])
        assert (figures[0] != figures[1]) == changes, source


def test_resumed_run_keeps_its_slow_student(align_task, tmp_path):
    def task() -> AlignTask:
        model = fresh_aligner(latent_channels=4)
        return AlignTask(
            model,
            AlignLossConfig(),
            windows=align_task.windows,
            held_out_windows=align_task.windows,
            target=SlowStudent(model, decay=0.5),
        )

    def states(folder, *lengths: int) -> dict[str, torch.Tensor]:
        for steps in lengths:
            settings = TrainConfig(steps=4, batch_clips=2, validate_every=9, save_every=2)
            cut = replace(settings, steps=steps, decay_fraction=0.0)
            train(task(), cut, folder=folder, device=torch.device("cpu"))
        return load_file(folder / STATE_NAME)

    uninterrupted, resumed = (
        states(tmp_path / "uninterrupted", 4),
        states(tmp_path / "resumed", 2, 4),
    )
    assert uninterrupted.keys() == resumed.keys()
    assert all(torch.equal(uninterrupted[name], resumed[name]) for name in uninterrupted)
    slow = "slow_student/module/audio_input.weight"
    quick = "align/module/audio_input.weight"
    assert not torch.equal(uninterrupted[slow], uninterrupted[quick])
    assert not torch.equal(uninterrupted[slow], fresh_aligner(latent_channels=4).audio_input.weight)


def test_longest_block_follows_the_sampling(align_task):
    assert with_losses(align_task, AlignLossConfig(sampling="random")).longest_block == 1
    two_frames = with_losses(
        align_task, AlignLossConfig(sampling="random"), mel_frames_per_segment=2
    )
    assert two_frames.longest_block == 2
    assert with_losses(align_task, AlignLossConfig(longest_block=3)).longest_block == 3


def test_example_has_masked_and_recovered_segments(align_task):
    example = align_task.example(align_task.modules["align"])
    hidden = np.isnan(example["masked"])
    assert example["true"].shape == example["masked"].shape == (80, 64)
    assert hidden.mean() == pytest.approx(0.8, abs=0.1)
    np.testing.assert_array_equal(example["masked"][~hidden], example["true"][~hidden])
    assert np.isfinite(example["recovered"]).all()
    changed = (example["recovered"] != example["true"]).all(1)
    per_segment = changed.reshape(10, 8)
    assert (per_segment.all(1) == per_segment.any(1)).all() and hidden.all(1)[changed].all()
    assert 0.6 < changed.mean() < hidden.mean()  # segments at the ends of blocks are not recovered
    assert example["onsets"].shape == example["rises"].shape == (40,)
    assert float(example["duration_s"]) == pytest.approx(0.8)


def onset_rows(*events: list[int]) -> torch.Tensor:
    targets = torch.zeros(len(events), 50)
    for row, frames in enumerate(events):
        targets[row, frames] = 1.0
    return targets


@pytest.mark.parametrize(
    ("predicted", "true", "wanted"),
    [
        ([10, 30], [10, 30], 1.0),
        ([12, 28], [10, 30], 1.0),  # two frames off
        ([13], [10], 0.0),
        ([10], [10, 30], 2 / 3),
        ([10, 20, 30], [20], 0.5),
        ([9, 11], [10], 2 / 3),  # an event is matched once
        ([], [10], 0.0),
        ([], [], 0.0),
    ],
)
def test_onset_f1(predicted, true, wanted):
    logits = torch.where(onset_rows(predicted) > 0, 6.0, -6.0)
    assert best_onset_f1(logits, onset_rows(true)) == pytest.approx(wanted)


def test_onset_f1_uses_the_best_threshold():
    logits = torch.full((1, 50), -6.0)
    logits[0, 10], logits[0, 30] = 0.9, 0.2  # 0.71 and 0.55
    assert best_onset_f1(logits, onset_rows([10])) == 1.0
    assert best_onset_f1(logits, onset_rows([10, 30])) == 1.0


# ---------------------------------------------------------------------------------- flow


@pytest.fixture(scope="module")
def windows():
    rows, frames = 8, 40
    return ConditionWindows(
        video=rng(0).normal(size=(rows, frames, 16)).astype(np.float16),
        states=rng(1).normal(size=(rows, frames // 4, 16)).astype(np.float16),
        latents=(5.0 + 3.0 * rng(3).normal(size=(rows, frames, 6))).astype(np.float16),
        clip=np.arange(rows),
        start_s=np.zeros(rows),
    )


FLOW = FlowConfig(channels=6, width=16, layers=1, heads=2, condition_width=16)


def make_flow_task(
    windows, *, steps: int = 6, config=FLOW, training=None, real=None, **stages
) -> FlowTask:
    """A flow with some stages; `training` are other training windows."""
    torch.manual_seed(0)
    return FlowTask(
        FlowTransformer(config),
        ObjectiveConfig(),
        FlowStageConfig(**stages),
        steps=steps,
        data=FlowData(windows=training or windows),
        validation_data=FlowData(windows=windows),
        context=ContextConfig(shortest_context=4, longest_context=12),
        real=real,
    )


@pytest.fixture
def flow_task(windows):
    return make_flow_task(windows, dcf_steps=3)


def test_flow_standardises_its_latents(flow_task, windows):
    network = flow_task.modules["flow"]
    standard = network.standardise(torch.from_numpy(windows.latents.astype(np.float32)))
    np.testing.assert_allclose(standard.mean((0, 1)), 0, atol=1e-3)
    np.testing.assert_allclose(standard.std((0, 1)), 1, atol=1e-3)


def test_latents_that_are_not_finite_are_rejected(windows):
    latents = windows.latents.copy()
    latents[3, 5] = np.nan
    with pytest.raises(DataError, match="latents of the training windows are not finite"):
        make_flow_task(windows, dcf_steps=3, training=replace(windows, latents=latents))


def test_error_names_the_window_that_is_not_finite(flow_task, windows, tmp_path):
    video = windows.video.copy()
    video[5, 7, 3] = np.nan
    broken = replace(windows, video=video, clip=100 + windows.clip)
    flow_task._batches.data = FlowData(windows=broken)
    config = TrainConfig(steps=6, batch_clips=8, warmup_steps=1, save_every=1)
    with pytest.raises(TrainingError, match=r"step 1, phase 'flow': .* 'video' of clip 105"):
        train(flow_task, config, folder=tmp_path, device=torch.device("cpu"))
    assert all(bool(v.isfinite().all()) for v in flow_task.modules["flow"].state_dict().values())


def test_flow_batches_have_context(flow_task):
    batch = flow_task.sample_batch(rng(0), 4000)
    lengths = batch["context_length"].numpy()
    assert (lengths > 0).mean() == pytest.approx(0.4, abs=0.03)
    assert set(lengths[lengths > 0]) == set(range(4, 13))
    assert batch["context_noise"].unique().tolist() == pytest.approx([0.0, 0.1])


def test_context_is_the_start_of_the_latents(flow_task):
    batch = flow_task.sample_batch(rng(0), 64)
    batch["context_noise"][:] = 0.0
    audio, condition = prepare(flow_task.modules["flow"], batch)
    for row, length in enumerate(batch["context_length"].tolist()):
        assert condition.known[row].int().tolist() == [1] * length + [0] * (40 - length)
        assert torch.equal(condition.context[row, :length], audio[row, :length])
        assert not condition.context[row, length:].any()


def test_latent_noise_is_in_latents_and_context(flow_task):
    batch = flow_task.sample_batch(rng(0), 64)
    batch["context_noise"][:] = 0.0
    network = flow_task.modules["flow"]
    plain, _ = prepare(network, batch)
    audio, condition = prepare(network, batch, latent_noise=0.05)
    assert float((audio - plain).std()) == pytest.approx(0.05, rel=0.03)
    assert torch.equal(condition.context[condition.known], audio[condition.known])


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("latent_noise", -0.1, "latent_noise=.*: expected 0..1"),
        ("latent_noise", 1.0, "latent_noise=.*: expected 0..1"),
        ("dcf_steps", -1, "dcf_steps="),
        ("polish_steps", -1, "polish_steps="),
        ("critic_updates", 0, "polish_steps="),
        ("one_step_weight", -0.1, "polish_steps="),
        ("merge_steps", -1, "merge_steps="),
        ("merged_jumps", 1, "merge_steps="),
    ],
)
def test_stages_out_of_range_are_rejected(name, value, message):
    with pytest.raises(ConfigError, match=f"stages: {message}"):
        FlowStageConfig(**{name: value})


def test_one_step_stage_follows_flow_matching(flow_task):
    batch = flow_task.sample_batch(rng(0), 8)
    for step in range(6):
        _, figures = flow_task.loss("flow", batch, step)
        assert ("interval_error" in figures) == (step >= 3)


@pytest.mark.parametrize(
    ("dcf_steps", "largest_guidance", "expected"),
    [(4, 4.0, (0, 0)), (2, 4.0, (1, 1)), (2, 1.0, (1, 0))],
)
def test_a_trained_flow_records_its_map_and_its_guidance(
    windows, tmp_path, dcf_steps, largest_guidance, expected
):
    task = make_flow_task(windows, steps=4, dcf_steps=dcf_steps)
    task.objective = replace(task.objective, largest_guidance=largest_guidance)
    settings = TrainConfig(steps=4, batch_clips=4, warmup_steps=1, log_every=1)
    averages = train(task, settings, folder=tmp_path, device=torch.device("cpu"))
    flow = task.export(averages)["flow"][0]
    assert (int(flow.trained_intervals), int(flow.trained_guidance)) == expected


def test_validation_of_the_flow(flow_task):
    with torch.no_grad():
        torch.manual_seed(0)
        figures = flow_task.validate(flow_task.modules)
    # The output of a new network is 0, so samples are the noise.
    assert figures["velocity_error_0.6"] == pytest.approx(2.0, abs=0.2)
    assert figures["deviation_1"] == pytest.approx(1.0, abs=0.1)
    assert figures["error_4"] == pytest.approx(2.0, abs=0.2)


def test_flow_task_trains_the_diffusion_baseline(windows, tmp_path):
    config = replace(FLOW, predicts="noise", static=True)
    task = make_flow_task(windows, steps=4, config=config, dcf_steps=2)
    settings = TrainConfig(steps=4, batch_clips=4, warmup_steps=1, log_every=1)
    train(task, settings, folder=tmp_path, device=torch.device("cpu"))
    entries = read_journal(tmp_path / "journal.jsonl")
    errors = [entry["error"] for entry in entries if "error" in entry]
    # The output of a new network is 0: the error is that of standard noise in all steps.
    assert len(errors) == 4 and errors == pytest.approx([1.0] * 4, abs=0.2)
    assert not any("interval_error" in entry for entry in entries)
    assert {"noise_error_0.6", "error_4", "deviation_25"} <= {
        key.removeprefix("validation/") for key in entries[-1]
    }
    for stage in ("merge_steps", "polish_steps"):
        with pytest.raises(ConfigError, match=rf"{stage}=1.*: expected 0 for a network"):
            make_flow_task(windows, steps=4, config=config, dcf_steps=2, **{stage: 1})


def polished_task(windows, steps: int = 6) -> FlowTask:
    return make_flow_task(windows, steps=steps, dcf_steps=1, merge_steps=2, polish_steps=2)


POLISHED = TrainConfig(
    steps=6, batch_clips=4, warmup_steps=1, log_every=1, validate_every=6, save_every=1
)


def trained(task: FlowTask, folder, *, stop_after: int | None = None):
    """Journal and checkpoint of a run, which stops after step `stop_after`."""

    def progress(step: int, figures: dict[str, float]) -> None:
        if step == stop_after:
            raise KeyboardInterrupt

    with nullcontext() if stop_after is None else pytest.raises(KeyboardInterrupt):
        train(task, POLISHED, folder=folder, device=torch.device("cpu"), progress=progress)
    return losses(folder), load_file(folder / STATE_NAME)


@pytest.fixture(scope="module")
def polished(windows, tmp_path_factory):
    return trained(polished_task(windows), tmp_path_factory.mktemp("polished"))


def test_merging_and_polish_are_the_last_steps(polished):
    entries, _ = polished
    steps = [entry for entry in entries if "flow/loss" in entry]
    assert ["interval_error" in entry for entry in steps] == [False, True, False, False, True, True]
    assert ["merge_error" in entry for entry in steps] == [False] * 2 + [True] * 2 + [False] * 2
    assert ["mismatch" in entry for entry in steps] == [False] * 4 + [True] * 2
    assert ["critic/loss" in entry for entry in steps] == [False] * 4 + [True] * 2
    # The networks of the critic differ by two updates of one of them.
    assert 0 < steps[4]["mismatch"] < 0.2


@pytest.mark.parametrize(
    ("module", "network", "stop_after"), [("critic", "real", 5), ("teacher", "flow", 3)]
)
def test_refinements_start_from_the_averaged_flow(windows, tmp_path, module, network, stop_after):
    # The checkpoint is that of the step before.
    _, before = trained(polished_task(windows), tmp_path, stop_after=stop_after)
    assert int(before[f"{module}/module/started"]) == 0
    _, after = trained(polished_task(windows), tmp_path)
    names = [n.removeprefix("flow/average/") for n in before if n.startswith("flow/average/")]
    moved = 0
    for name in names:
        average = before[f"flow/average/{name}"]
        assert torch.equal(after[f"{module}/module/{network}.{name}"], average), name
        if module == "critic":
            moved += not torch.equal(after[f"critic/module/fake.{name}"], average)
    assert module != "critic" or moved > len(names) / 2


def test_another_flow_is_the_real_one_of_the_polish(windows, tmp_path):
    _, first = trained(polished_task(windows), tmp_path / "first")
    real = FlowTransformer(FLOW)
    prefix = "flow/average/"
    real.load_state_dict(
        {n.removeprefix(prefix): value for n, value in first.items() if n.startswith(prefix)}
    )
    task = make_flow_task(windows, steps=6, dcf_steps=1, polish_steps=2, real=real)
    entries, state = trained(task, tmp_path / "second")
    assert sum("mismatch" in entry for entry in entries) == 2
    for name, value in real.state_dict().items():
        assert torch.equal(state[f"critic/module/real.{name}"], value), name


@pytest.mark.parametrize("stopped_at", [3, 4, 5, 6])
def test_interrupted_polish_resumes_exactly(polished, windows, tmp_path, stopped_at):
    trained(polished_task(windows), tmp_path, stop_after=stopped_at)
    entries, state = trained(polished_task(windows), tmp_path)
    assert entries == polished[0]
    assert state.keys() == polished[1].keys()
    assert all(torch.equal(state[name], polished[1][name]) for name in state)


def test_shortened_run_still_starts_teacher_and_critic(windows):
    task = polished_task(windows)
    averages = {"flow": copy.deepcopy(task.modules["flow"])}
    assert task.begin_step(1, averages) == task.begin_step(3, averages) == ("flow",)
    assert int(task.modules["teacher"].started) == 1
    assert task.begin_step(5, averages) == ("critic", "critic", "flow")
    assert int(task.modules["critic"].started) == 1
    with pytest.raises(
        ConfigError, match=r"dcf_steps=1, merge_steps=2, polish_steps=2 are more than the run's 4"
    ):
        polished_task(windows, steps=4)


def test_only_the_flow_is_exported(windows):
    task = polished_task(windows)
    assert task.export(task.modules).keys() == {"flow"}


def test_windows_are_read_as_float32(windows):
    batch = read_windows(windows, np.array([1, 5]))
    assert batch["video"].dtype == batch["latents"].dtype == torch.float32
    np.testing.assert_array_equal(batch["video"], windows.video[[1, 5]].astype(np.float32))
    assert batch["clip"].tolist() == [1, 5]
