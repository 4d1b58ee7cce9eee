"""Loading judges: hashes, missing and foreign files, and small weights in the published layout."""

from __future__ import annotations

import sys
from dataclasses import replace
from importlib.util import find_spec
from types import ModuleType

import numpy as np
import pytest
import torch
from support.small_judges import SMALL_NETWORKS as NETWORKS
from support.small_judges import publish_judge, randomised

from foleyflow.errors import CheckpointError, MissingExtra
from foleyflow.evaluation.metrics import METRICS
from foleyflow.judges import adapters
from foleyflow.judges.adapters import PUBLISHED, load_judge, load_judges
from foleyflow.judges.interface import PairPadding, preprocess_audio
from foleyflow.judges.networks import diff_foley
from foleyflow.judges.weights import FILES, SHIPPED_JUDGES, load_published, verify_file
from foleyflow.signals import Frames, Waveform
from foleyflow.weights import file_sha256

HASHES = {name: file.sha256 for name, file in FILES.items()}


@pytest.fixture
def published(tmp_path, monkeypatch):
    """Files in the published layout with small random weights, and their hashes in `FILES`."""
    for name, build in NETWORKS.items():
        if name == "clap" and find_spec("transformers") is None:
            continue
        file = FILES[name]
        sha256 = file_sha256(publish_judge(name, tmp_path))
        monkeypatch.setitem(FILES, name, replace(file, sha256=sha256))
        monkeypatch.setitem(adapters.NETWORKS, name, build)
    return tmp_path


def sound(seconds, rate_hz=22050):
    rng = np.random.default_rng(0)
    samples = rng.uniform(-0.5, 0.5, (2, round(seconds * rate_hz))).astype(np.float32)
    return Waveform(samples=samples, rate_hz=rate_hz)


@pytest.mark.parametrize(
    ("name", "shape", "classes"),
    [("vggish", (4, 128), None), ("panns", (1, 7), 11), ("passt", (1, 8), 5)],
)
def test_published_file_becomes_a_judge(published, name, shape, classes):
    judge = load_judge(name, published)
    assert judge.name == name
    assert judge.weights_sha256 == file_sha256(published / FILES[name].name)
    samples = preprocess_audio(judge, sound(4.0))
    assert len(samples) == (320_000 if name == "passt" else 4 * judge.rate_hz)
    assert judge.embed(samples).shape == shape
    assert judge.embed(samples).dtype == np.float64
    again = randomised(NETWORKS[name]())
    if classes is None:
        expected = again(again.patches(torch.from_numpy(samples))).detach()
        np.testing.assert_allclose(judge.embed(samples), expected, rtol=1e-5, atol=1e-6)
        with pytest.raises(ValueError, match="the judge 'vggish' has no classes"):
            judge.logits(samples)
    else:
        with torch.no_grad():
            logits, hidden = again(torch.from_numpy(samples)[None])
        np.testing.assert_allclose(judge.logits(samples), logits[0], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(judge.embed(samples), hidden, rtol=1e-5, atol=1e-6)
        assert judge.logits(samples).shape == (classes,)


@pytest.mark.parametrize("name", PUBLISHED)
def test_missing_file_is_named_in_a_one_line_error_with_a_download_hint(tmp_path, name):
    first = next(file for file in FILES.values() if file.judge == name)
    with pytest.raises(CheckpointError, match=f"judge '{name}': weights not found") as caught:
        load_judge(name, tmp_path / "judges")
    assert str(tmp_path / "judges" / first.name) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert first.url in caught.value.hint and "curl -L" in caught.value.hint


def test_judge_of_two_files_needs_both(published):
    (published / FILES["cavp"].name).unlink()
    with pytest.raises(CheckpointError, match=r"judge 'diff-foley': .*cavp_epoch66.ckpt"):
        load_judge("diff-foley", published)


def test_files_without_a_published_hash_are_identified_by_their_own_hash(published):
    assert [name for name, sha256 in HASHES.items() if not sha256] == ["diff-foley", "imagebind"]
    judge = load_judge("diff-foley", published)
    hashes = [file_sha256(published / FILES[name].name) for name in ("diff-foley", "cavp")]
    assert judge.weights_sha256 == " + ".join(hashes)


def test_file_with_another_hash_is_refused(tmp_path):
    torch.save({}, tmp_path / FILES["panns"].name)
    with pytest.raises(CheckpointError, match=r"its hash is [0-9a-f]{64}, expected e2ee543a"):
        load_judge("panns", tmp_path)


def test_first_digits_of_a_hash_are_accepted(tmp_path):
    (tmp_path / "a").write_bytes(b"weights")
    sha256 = file_sha256(tmp_path / "a")
    file = replace(FILES["vggish"], name="a", sha256=sha256[:8])
    assert verify_file(tmp_path, file) == (tmp_path / "a", sha256)


def test_files_without_the_expected_tensors_are_refused(tmp_path):
    path, file = tmp_path / "a.pth", replace(FILES["vggish"], name="a.pth")
    path.write_bytes(b"no tensors")
    with pytest.raises(CheckpointError, match="can't be read as tensors alone"):
        load_published(NETWORKS["vggish"](), path, file)
    torch.save({"other": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match=r"does not fit vggish: .*Missing key"):
        load_published(NETWORKS["vggish"](), path, file)
    with pytest.raises(CheckpointError, match="expected tensors under the key 'model'"):
        load_published(NETWORKS["panns"](), path, replace(FILES["panns"], name="a.pth"))


class Harmful:
    """Runs code if it is unpickled."""

    def __reduce__(self):
        return (print, ("unpickled",))


def test_class_named_in_a_lightning_file_is_not_imported(published, monkeypatch):
    path = published / FILES["diff-foley"].name
    content = torch.load(path, weights_only=False)
    with monkeypatch.context() as patch:
        name = "pytorch_lightning"
        for part in ("", ".callbacks", ".model_checkpoint"):
            name += part
            patch.setitem(sys.modules, name, ModuleType(name))
        writer = sys.modules[name].ModelCheckpoint = type("ModelCheckpoint", (), {})
        writer.__module__ = name
        torch.save({**content, "callbacks": {writer: {"best": torch.zeros(())}}}, path)
    load_published(NETWORKS["diff-foley"](), path, FILES["diff-foley"])


def test_code_in_a_file_is_not_run(tmp_path, capsys):
    path = tmp_path / "a.pth"
    torch.save({"model": Harmful()}, path)
    with pytest.raises(CheckpointError, match="can't be read as tensors alone"):
        load_published(NETWORKS["panns"](), path, FILES["panns"])
    assert "unpickled" not in capsys.readouterr().out


def test_unknown_judge_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="unknown judge 'yamnet'") as caught:
        load_judge("yamnet", tmp_path)
    assert "vggish" in caught.value.hint and "sync-sim" in caught.value.hint


def test_all_judges_of_metrics_can_be_loaded():
    named = {metric.judge for metric in METRICS.values() if metric.judge}
    assert named == {*PUBLISHED, *SHIPPED_JUDGES}
    assert adapters.NETWORKS.keys() == FILES.keys() == NETWORKS.keys()
    assert {file.judge for file in FILES.values()} == PUBLISHED.keys()


def test_load_judges_returns_those_that_can_be_loaded(published):
    judges, missing = load_judges(["panns", "yamnet", "panns"], published)
    assert list(judges) == ["panns"]
    assert list(missing) == ["yamnet"]


def film(seconds, rate_hz, side, seed=0):
    rng = np.random.default_rng(seed)
    count = round(seconds * rate_hz)
    pixels = rng.integers(0, 255, (count, side, side, 3)).astype(np.uint8)
    return Frames(pixels=pixels, times_s=np.arange(count) / rate_hz)


def test_synchformer_score_is_the_mean_of_both_absolute_offsets(published):
    judge = load_judge("synchformer", published)
    frames, samples = film(8.0, 25, 32), sound(8.0, 16000).mono()
    network = randomised(NETWORKS["synchformer"]())
    grid = np.arange(-10, 11) / 5
    with torch.no_grad():
        video = network.encode_video(torch.from_numpy(frames.pixels).permute(0, 3, 1, 2))
        audio = network.encode_audio(torch.from_numpy(samples))
        assert len(video) == len(audio) == 24
        ends = (video[:14], audio[:14]), (video[10:], audio[10:])
        tops = [int(network.compare(*pair).argmax()) for pair in ends]
    assert judge.score(frames, samples) == pytest.approx(np.abs(grid[tops]).mean(), abs=1e-6)
    np.testing.assert_allclose(network.offsets_s, grid, atol=1e-6)


def test_synchformer_score_is_the_offset_of_the_most_likely_class(published):
    judge = load_judge("synchformer", published)
    head = judge._network.transformer.off_head
    head.weight.data.zero_()
    for place, offset_s in ((0, 2.0), (10, 0.0), (13, 0.6), (20, 2.0)):
        head.bias.data.copy_(torch.nn.functional.one_hot(torch.tensor(place), 21))
        frames = film(4.8, 25, 32, seed=place)
        assert judge.score(frames, sound(5.0, 16000).mono()) == pytest.approx(offset_s, abs=1e-6)


def test_synchformer_encodes_only_both_ends_of_a_long_video_and_only_once(published):
    judge = load_judge("synchformer", published)
    lengths, encode = [], judge._network.encode_video
    judge._network.encode_video = lambda pixels: lengths.append(len(pixels)) or encode(pixels)
    frames = film(12.0, 25, 32)
    for seed in (0, 1):
        samples = np.random.default_rng(seed).uniform(-0.5, 0.5, 12 * 16000).astype(np.float32)
        assert 0 <= judge.score(frames, samples) <= 2
    assert lengths == [120, 120]
    with pytest.raises(ValueError, match=r"4.76 s of video with 12.00 s .*'synchformer' needs 4.8"):
        judge.score(film(4.76, 25, 32), samples)
    with pytest.raises(ValueError, match=r"8.00 s of video with 4.00 s of sound"):
        judge.score(film(8.0, 25, 32), samples[: 4 * 16000])


def test_diff_foley_score_is_reproducible_and_matches_its_networks(published):
    judge = load_judge("diff-foley", published)
    frames, samples = film(10.0, 4, 32), sound(10.0, 16000).mono()
    probability = judge.score(frames, samples)
    assert 0 < probability < 1
    assert judge.score(frames, samples) == probability
    assert judge.score(frames, np.roll(samples, 20000)) != probability
    cavp, classifier = (randomised(NETWORKS[name]()) for name in ("cavp", "diff-foley"))
    with torch.no_grad():
        features = cavp(torch.from_numpy(frames.pixels).permute(0, 3, 1, 2))[:32]
        levels = diff_foley.mel_levels(torch.from_numpy(samples))
        torch.manual_seed(0)
        latents = classifier.latents(levels, torch.randn)
        assert probability == pytest.approx(float(classifier(latents, features)), abs=1e-6)
    with pytest.raises(ValueError, match=r"0.00 s of video .* 'diff-foley' needs 0.25 s of both"):
        judge.score(film(0, 4, 32), samples)
    with pytest.raises(ValueError, match=r"10.00 s of video with 0.10 s of sound"):
        judge.score(frames, samples[:1600])


@pytest.mark.parametrize("seconds", [8.0, 5.0, 0.5])
def test_diff_foley_pads_short_pairs_as_its_authors(published, seconds):
    """Reference: a sound with zeros up to 10 s, and the features of the video end to end."""
    judge = load_judge("diff-foley", published)
    frames, samples = film(seconds, 4, 32), sound(seconds, 16000).mono()
    filled = np.zeros(160_000, np.float32)
    filled[: len(samples)] = samples
    cavp, classifier = (randomised(NETWORKS[name]()) for name in ("cavp", "diff-foley"))
    with torch.no_grad():
        features = cavp(torch.from_numpy(frames.pixels).permute(0, 3, 1, 2)).numpy()
        tiled = torch.from_numpy(np.tile(features, (64, 1))[:32])
        levels = diff_foley.mel_levels(torch.from_numpy(filled[:-1]))
        torch.manual_seed(0)
        expected = float(classifier(classifier.latents(levels, torch.randn), tiled))
    assert judge.score(frames, samples) == pytest.approx(expected, abs=1e-6)
    padding = judge.padding(frames, samples)
    assert padding.sound_s == pytest.approx(8.192 - seconds)
    assert padding.sound_fraction == pytest.approx(1 - seconds / 8.192)
    assert padding.video_s == pytest.approx(8.0 - seconds)
    assert padding.video_fraction == pytest.approx(1 - seconds / 8.0)


def test_no_padding_is_reported_for_complete_pairs_and_for_other_judges(published):
    judge = load_judge("diff-foley", published)
    assert judge.padding(film(10.0, 4, 32), sound(10.0, 16000).mono()) == PairPadding()
    for name in ("synchformer", "imagebind"):
        judge = load_judge(name, published)
        assert judge.pads is None
        assert judge.padding(film(1.0, 4, 32), sound(1.0, 16000).mono()) == PairPadding()


def test_diff_foley_score_depends_only_on_the_start_of_a_pair(published):
    judge = load_judge("diff-foley", published)
    frames, samples = film(10.0, 4, 32), sound(10.0, 16000).mono()
    longer = film(14.0, 4, 32)
    longer.pixels[:40] = frames.pixels
    changed = samples.copy()
    changed[512 * 256 + 1024 :] = 0.0
    assert judge.score(longer, changed) == judge.score(frames, samples)


def test_clap_judge_embeds_ten_seconds_at_most(published):
    pytest.importorskip("transformers")
    judge = load_judge("clap", published)
    samples = preprocess_audio(judge, sound(12.0))
    assert len(samples) == 480_000
    embedding = judge.embed(samples)
    assert embedding.shape == (1, 6)
    assert np.linalg.norm(embedding) == pytest.approx(1.0, abs=1e-6)
    with pytest.raises(ValueError, match="the judge 'clap' has no classes"):
        judge.logits(samples)


def test_clap_without_its_library_is_an_error_with_an_install_hint(published, monkeypatch):
    (published / FILES["clap"].name).write_bytes(b"")
    file = replace(FILES["clap"], sha256=file_sha256(published / FILES["clap"].name))
    monkeypatch.setitem(FILES, "clap", file)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtra, match="needs the package 'transformers'") as caught:
        load_judge("clap", published)
    assert caught.value.hint == "pip install 'foleyflow[judges]'"


@pytest.mark.parametrize("name", ["vggish", "panns", "passt"])
def test_outputs_of_several_sounds_are_those_of_each(published, name):
    judge = load_judge(name, published)
    lengths = [judge.rate_hz * 2, judge.rate_hz * 3, judge.rate_hz * 2]
    rng = np.random.default_rng(0)
    sounds = [rng.uniform(-1, 1, n).astype(np.float32) for n in lengths]
    results = judge.outputs(sounds)
    for sound, result in zip(sounds, results, strict=True):
        np.testing.assert_array_equal(result["embed"], judge.embed(sound))
        if name != "vggish":
            np.testing.assert_array_equal(result["logits"], judge.logits(sound))
    # A batch, as on a GPU
    embeddings, logits = judge._run([sounds[0], sounds[2]])
    for row, result in enumerate((results[0], results[2])):
        np.testing.assert_allclose(embeddings[row], result["embed"], rtol=1e-4, atol=1e-5)
        if logits is not None:
            np.testing.assert_allclose(logits[row], result["logits"], rtol=1e-4, atol=1e-5)


def test_a_sound_that_is_refused_has_no_outputs(published):
    judge = load_judge("panns", published)
    short, long = np.zeros(100, np.float32), np.zeros(16_000, np.float32)
    assert [sorted(result) for result in judge.outputs([short, long])] == [[], ["embed", "logits"]]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", ["vggish", "panns", "passt"])
def test_judges_on_a_gpu_agree_with_those_on_the_cpu(published, name):
    judges = [load_judge(name, published, device) for device in ("cpu", "cuda")]
    sounds = [preprocess_audio(judges[0], sound(4.0))] * 3
    for on_cpu, on_gpu in zip(*(judge.outputs(sounds) for judge in judges), strict=True):
        for key, value in on_cpu.items():
            np.testing.assert_allclose(on_gpu[key], value, rtol=1e-2, atol=1e-2)


class DictStore:
    """Features of one video in memory; see `judges.video_features.FeatureStore`."""

    def __init__(self):
        self.kept = {}

    def load(self, count):
        return self.kept.get(count)

    def save(self, count, features):
        self.kept[count] = [np.array(feature) for feature in features]


@pytest.mark.parametrize("name", ["synchformer", "diff-foley", "imagebind"])
def test_stored_features_of_a_video_give_the_same_score(published, name):
    judge, store = load_judge(name, published), DictStore()
    side = judge.video_preprocessing.size_px
    frames = film(8.0, judge.video_preprocessing.rate_hz, side)
    samples = sound(8.0, judge.rate_hz).mono()
    expected = judge.score(frames, samples)
    judge = load_judge(name, published)
    judge.keep_features(frames, store)
    assert judge.score(frames, samples) == expected
    assert len(store.kept) == 1
    # Another process reads them, and a video that is all black gives the same score
    other = load_judge(name, published)
    black = Frames(pixels=np.zeros_like(frames.pixels), times_s=frames.times_s)
    other.keep_features(black, store)
    assert other.score(black, samples) == expected
