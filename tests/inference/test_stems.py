"""Splitting of sounds into stems: exact sums, true separate sounds, and results of a model."""

from __future__ import annotations

import numpy as np
import pytest
from support.cli_model import make_model
from support.media_files import make_video

from foleyflow import Cue, CueSheet, FoleyFlow
from foleyflow.errors import ConfigError
from foleyflow.inference.stems import Reference, split_blocks_into_stems, stem_spans
from foleyflow.media.sound_file import integer_levels
from foleyflow.simulation.contacts import Body, ContactLog, Impact
from foleyflow.simulation.sound.synthesis import synthesise

RATE_HZ = 48_000
HITS_S = {"wood": (0.31, 1.2, 2.83), "metal": (0.6, 1.9), "glass": (0.9, 1.31, 2.4, 3.3)}
SHAPES = {"wood": ("box", (0.2, 0.15, 0.03)), "metal": ("bowl", (0.2, 0.2, 0.1))}
CUES = CueSheet(
    cues=(
        Cue(time_s=0.5, material="wood"),
        Cue(time_s=1.5, material="glass"),
        Cue(time_s=1.7, material="wood", enabled=False),
        Cue(time_s=2.0, kind="roll", end_s=2.9, level_db=-20.0, material="wood"),
        Cue(time_s=3.4),
    )
)


def simulated(material: str, *, seed: int = 0, duration_s: float = 4.0) -> np.ndarray:
    """Hits of one material at `HITS_S`, (n,) float32 with a peak of 0.3."""
    shape, size_m = SHAPES.get(material, ("bowl", (0.08, 0.08, 0.1)))
    bodies = {
        "body": Body(name="body", material=material, shape=shape, size_m=size_m),
        "tip": Body(name="tip", material="rubber", shape="sphere", size_m=(0.01, 0.01, 0.01)),
    }
    impacts = [
        Impact(time_s=time_s, body="body", other="tip", impulse_ns=0.1, speed_mps=1.0)
        for time_s in HITS_S[material]
    ]
    log = ContactLog(bodies=bodies, impacts=impacts, frictions=[])
    sound = synthesise(log, duration_s=duration_s, rng=np.random.default_rng(seed)).waveform
    return (0.3 * sound / np.abs(sound).max()).astype(np.float32)


def reference(sound: np.ndarray, begins_s) -> Reference:
    def read(first: int, last: int) -> np.ndarray:
        padded = np.pad(sound, (max(-first, 0), max(last - len(sound), 0)))
        return padded[first + max(-first, 0) : last + max(-first, 0)]

    begins = [round(time_s * RATE_HZ) - 500 for time_s in begins_s]
    return Reference(begins=begins, start=0, stop=len(sound), read=read)


def split(mix: np.ndarray, references, *, piece: int = 10_000) -> np.ndarray:
    """(stems, C, n) of a (C, n) mix that is given in pieces."""
    pieces = (mix[:, at : at + piece] for at in range(0, mix.shape[1], piece))
    stems = np.zeros((len(references), *mix.shape), np.float32)
    for block in split_blocks_into_stems(pieces, references):
        end = block.start + block.mix.shape[1]
        np.testing.assert_array_equal(block.mix, mix[:, block.start : end])
        for index, samples in block.stems.items():
            stems[index, :, block.start : end] = samples
    return stems


def si_sdr_db(true: np.ndarray, estimated: np.ndarray) -> float:
    target = (true @ estimated) / (true @ true) * true
    return 10 * np.log10((target @ target) / np.square(estimated - target).sum())


def test_true_references_separate_simulated_materials():
    true = {material: simulated(material) for material in HITS_S}
    mix = np.sum(list(true.values()), axis=0)
    references = [reference(sound, HITS_S[name]) for name, sound in true.items()]
    stems = split(mix[None], references)[:, 0]
    np.testing.assert_allclose(stems.sum(0), mix, atol=1e-6)
    for sound, stem in zip(true.values(), stems, strict=True):
        assert si_sdr_db(sound, stem) > 15.0
        assert si_sdr_db(sound, stem) > si_sdr_db(sound, mix) + 10.0


def test_references_of_another_body_separate_materials_too():
    """References need not have the modes of the sound, as with a generated sound."""
    true = {material: simulated(material) for material in HITS_S}
    mix = np.sum(list(true.values()), axis=0)
    references = [reference(simulated(name, seed=1), HITS_S[name]) for name in true]
    for sound, stem in zip(true.values(), split(mix[None], references)[:, 0], strict=True):
        assert si_sdr_db(sound, stem) > si_sdr_db(sound, mix) + 5.0


@pytest.mark.parametrize("count", [1, 511, 49_152, 49_153, 100_000])
def test_channels_lengths_and_pieces_do_not_matter(count):
    mix = np.random.default_rng(0).uniform(-0.5, 0.5, (2, count)).astype(np.float32)
    references = [reference(mix[k], [0.1 * k]) for k in range(2)]
    stems = split(mix, references)
    np.testing.assert_allclose(stems.sum(0), mix, atol=1e-6)
    np.testing.assert_array_equal(split(mix, references, piece=777), stems)
    assert list(split_blocks_into_stems([], references)) == []


def test_what_no_reference_explains_belongs_to_the_sound_that_began_last():
    mix = np.random.default_rng(0).uniform(-0.5, 0.5, (1, 4 * RATE_HZ)).astype(np.float32)
    silent = [reference(np.zeros(4 * RATE_HZ, np.float32), times_s) for times_s in ((1, 3), (2,))]
    first, second = split(mix, silent)[:, 0]
    far = 2048  # spread of a frame
    change, again = (round(s * RATE_HZ) - 500 for s in (2, 3))
    np.testing.assert_allclose(first[: change - far], mix[0, : change - far], atol=1e-6)
    assert not second[: change - far].any() and not first[change + far : again - far].any()
    inside = slice(change + far, again - far)
    np.testing.assert_allclose(second[inside], mix[0, inside], atol=1e-6)


def test_stems_are_silent_outside_their_spans():
    mix = np.random.default_rng(0).uniform(-0.5, 0.5, (1, 4 * RATE_HZ)).astype(np.float32)
    silence = np.zeros(4 * RATE_HZ, np.float32)
    references = [
        Reference(
            begins=[begin],
            start=begin - 300,
            stop=begin + 9_000,
            read=lambda a, b: silence[: b - a],
        )
        for begin in (20_000, 90_000, 95_000)
    ]
    spans = stem_spans(references, mix.shape[1])
    assert spans[0][0] == 0 and spans[-1][1] == mix.shape[1]
    for (start, stop), stem in zip(spans, split(mix, references)[:, 0], strict=True):
        assert not stem[:start].any() and not stem[stop:].any()
        assert stem[start:stop].any()


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return FoleyFlow.from_pretrained(make_model(tmp_path_factory.mktemp("model")), device="cpu")


@pytest.fixture(scope="module")
def result(model, tmp_path_factory):
    clip = make_video(tmp_path_factory.mktemp("clip") / "clip.mp4", n_frames=100)
    return model.generate(clip, cues=CUES)


def summed(stems, count: int) -> np.ndarray:
    """The sum of stems in steps of 24 bits."""
    total = np.zeros(count)
    for stem in stems:
        samples = stem.waveform
        assert len(samples) == stem.sample_count and np.isfinite(samples).all()
        total[stem.start_sample : stem.start_sample + len(samples)] += samples.astype(np.float64)
    return total * 2**23


@pytest.mark.parametrize("by", ["material", "cue"])
def test_the_stems_of_a_result_add_up_to_the_sample(result, by):
    for each in (result, result.regenerate(1.0, 2.0)):
        before = each.waveform.tobytes()
        total = summed(each.stems(by), each.sample_count)
        np.testing.assert_array_equal(total, integer_levels(each.waveform[None], 24)[0])
        assert each.waveform.tobytes() == before


def test_the_names_and_cues_of_stems(result):
    materials = result.stems()
    assert [stem.name for stem in materials] == ["wood", "glass", "auto"]
    assert [len(stem.cues) for stem in materials] == [2, 1, 1]
    assert {(stem.start_sample, stem.sample_count) for stem in materials} == {(0, 4 * RATE_HZ)}
    by_cue = result.stems("cue")
    assert [stem.name for stem in by_cue] == [
        "001_wood_0.500s",
        "002_glass_1.500s",
        "004_wood_roll_2.000s",
        "005_auto_3.400s",
    ]
    assert [stem.cues[0] for stem in by_cue] == list(result.cues.enabled)
    assert (
        by_cue[0].start_s == 0 and 1.38 < by_cue[1].start_s < 1.5 and 3.28 < by_cue[3].start_s < 3.4
    )
    with pytest.raises(ConfigError, match="expected material or cue"):
        result.stems("loudness")


def test_no_enabled_cue_gives_no_stem(result):
    nothing = result.rerender(CueSheet())
    assert nothing.stems() == nothing.stems("cue") == []


def test_the_work_for_a_stem_does_not_depend_on_the_length_of_the_clip(model, tmp_path):
    """Only the windows around the cue are generated again."""
    counts = []
    for frames in (100, 400):
        video = make_video(tmp_path / f"{frames}.mp4", n_frames=frames)
        result = model.generate(video, cues=CueSheet(cues=(Cue(time_s=1.0, material="wood"),)))
        calls: list[int] = []
        hook = model.flow.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        result.stems("cue")
        hook.remove()
        counts.append(len(calls))
    assert counts[0] == counts[1] > 0
