"""Judges from files: hashes, missing and foreign files, the published form with small weights."""

from __future__ import annotations

import sys
from dataclasses import replace
from importlib.util import find_spec
from types import ModuleType

import numpy as np
import pytest
import torch
from support.small_judges import SMALL_NETWORKS as NETWORKS
from support.small_judges import randomised

from foleyflow.errors import CheckpointError, MissingExtra
from foleyflow.evaluation.metrics import METRICS
from foleyflow.judges import adapters
from foleyflow.judges.adapters import PUBLISHED, load_judge, load_judges
from foleyflow.judges.interface import preprocess_for
from foleyflow.judges.networks import diff_foley
from foleyflow.judges.weights import FILES, SHIPPED_JUDGES, checked_file, fill_from
from foleyflow.signals import Frames, Waveform
from foleyflow.weights import file_sha256


def besides(name, file, tensors):
    """What a published file holds beside the tensors that are listened with."""
    if name == "vggish":
        tensors["pproc.pca_means"] = torch.zeros(128, 1)
    if name == "synchformer":
        tensors["vfeat_extractor.patch_embed.proj.bias"] = torch.zeros(8)
    if name == "clap":
        tensors["text_model.pooler.dense.bias"] = tensors["logit_scale_a"] = torch.zeros(1)
    if name == "cavp":
        tensors = {f"module.{key}": value for key, value in tensors.items()}
        tensors["module.logit_scale"] = tensors["module.spec_encoder.fc1.bias"] = torch.zeros(1)
    if name == "diff-foley":
        tensors["first_stage_model.decoder.conv_in.bias"] = torch.zeros(1)
        tensors["scale_factor"] = tensors["sqrt_alphas_cumprod"] = torch.zeros(1)
    if file.inner is None:
        return tensors
    return {file.inner: tensors, "iteration": 1, "sampler": {"i": np.arange(3)}}


@pytest.fixture
def published(tmp_path, monkeypatch):
    """The files in their published form, with small random weights; their hashes known."""
    for name, build in NETWORKS.items():
        if name == "clap" and find_spec("transformers") is None:
            continue
        file = FILES[name]
        torch.save(besides(name, file, randomised(build()).state_dict()), tmp_path / file.name)
        sha256 = file_sha256(tmp_path / file.name)
        monkeypatch.setitem(FILES, name, replace(file, sha256=sha256))
        monkeypatch.setitem(adapters.NETWORKS, name, build)
    return tmp_path


ORIGINALS = dict(FILES)


def sound(seconds, rate_hz=22050):
    rng = np.random.default_rng(0)
    samples = rng.uniform(-0.5, 0.5, (2, round(seconds * rate_hz))).astype(np.float32)
    return Waveform(samples=samples, rate_hz=rate_hz)


@pytest.mark.parametrize(
    ("name", "embedded", "classes"),
    [("vggish", (4, 128), None), ("panns", (1, 7), 11), ("passt", (1, 8), 5)],
)
def test_a_file_in_its_published_form_becomes_a_judge(published, name, embedded, classes):
    judge = load_judge(name, published)
    assert judge.name == name
    assert judge.weights_sha256 == file_sha256(published / FILES[name].name)
    heard = preprocess_for(judge, sound(4.0))
    assert len(heard) == (320_000 if name == "passt" else 4 * judge.rate_hz)
    assert judge.embed(heard).shape == embedded
    assert judge.embed(heard).dtype == np.float64
    again = randomised(NETWORKS[name]())
    if classes is None:
        wanted = again(again.patches(torch.from_numpy(heard))).detach()
        np.testing.assert_allclose(judge.embed(heard), wanted, rtol=1e-5, atol=1e-6)
        with pytest.raises(ValueError, match="the judge 'vggish' has no classes"):
            judge.logits(heard)
    else:
        with torch.no_grad():
            logits, hidden = again(torch.from_numpy(heard)[None])
        np.testing.assert_allclose(judge.logits(heard), logits[0], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(judge.embed(heard), hidden, rtol=1e-5, atol=1e-6)
        assert judge.logits(heard).shape == (classes,)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_missing_file_is_one_line_that_says_which_belongs_where(tmp_path, name):
    first = FILES[PUBLISHED[name][0][0]]
    with pytest.raises(CheckpointError, match=f"the judge '{name}' is not here") as caught:
        load_judge(name, tmp_path / "judges")
    assert str(tmp_path / "judges" / first.name) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert first.url in caught.value.hint and "curl -L" in caught.value.hint


def test_a_judge_of_two_files_needs_both(published):
    (published / FILES["cavp"].name).unlink()
    with pytest.raises(CheckpointError, match=r"'diff-foley' is not here: .*cavp_epoch66.ckpt"):
        load_judge("diff-foley", published)


def test_where_nobody_publishes_a_hash_the_report_alone_says_which_file_it_was(published):
    assert [name for name, file in ORIGINALS.items() if not file.sha256] == [
        "diff-foley",
        "imagebind",
    ]
    judge = load_judge("diff-foley", published)
    hashes = [file_sha256(published / FILES[name].name) for name in ("diff-foley", "cavp")]
    assert judge.weights_sha256 == " + ".join(hashes)


def test_another_file_of_that_name_is_refused(tmp_path):
    torch.save({}, tmp_path / FILES["panns"].name)
    with pytest.raises(CheckpointError, match=r"its hash is [0-9a-f]{64}, expected e2ee543a"):
        load_judge("panns", tmp_path)


def test_the_first_digits_of_a_hash_do(tmp_path):
    (tmp_path / "a").write_bytes(b"weights")
    whole = file_sha256(tmp_path / "a")
    file = replace(FILES["vggish"], name="a", sha256=whole[:8])
    assert checked_file(tmp_path, file) == (tmp_path / "a", whole)


def test_files_that_hold_no_such_tensors_are_refused(tmp_path):
    path, file = tmp_path / "a.pth", replace(FILES["vggish"], name="a.pth")
    path.write_bytes(b"no tensors")
    with pytest.raises(CheckpointError, match="can't be read as tensors alone"):
        fill_from(NETWORKS["vggish"](), path, file)
    torch.save({"other": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match=r"does not fit vggish: .*Missing key"):
        fill_from(NETWORKS["vggish"](), path, file)
    with pytest.raises(CheckpointError, match="holds no tensors under 'model'"):
        fill_from(NETWORKS["panns"](), path, replace(FILES["panns"], name="a.pth"))


class Harmful:
    """Would run code if it were unpickled."""

    def __reduce__(self):
        return (print, ("unpickled",))


def test_a_class_that_a_lightning_file_names_is_not_imported(published, monkeypatch):
    path = published / FILES["diff-foley"].name
    content = torch.load(path, weights_only=False)
    with monkeypatch.context() as there:
        name = "pytorch_lightning"
        for part in ("", ".callbacks", ".model_checkpoint"):
            name += part
            there.setitem(sys.modules, name, ModuleType(name))
        writer = sys.modules[name].ModelCheckpoint = type("ModelCheckpoint", (), {})
        writer.__module__ = name
        torch.save({**content, "callbacks": {writer: {"best": torch.zeros(())}}}, path)
    fill_from(NETWORKS["diff-foley"](), path, FILES["diff-foley"])


def test_nothing_in_a_file_is_run(tmp_path, capsys):
    path = tmp_path / "a.pth"
    torch.save({"model": Harmful()}, path)
    with pytest.raises(CheckpointError, match="can't be read as tensors alone"):
        fill_from(NETWORKS["panns"](), path, FILES["panns"])
    assert "unpickled" not in capsys.readouterr().out


def test_a_judge_that_nobody_knows_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="no judge 'yamnet'") as caught:
        load_judge("yamnet", tmp_path)
    assert "vggish" in caught.value.hint and "sync-sim" in caught.value.hint


def test_every_judge_that_a_metric_names_is_known():
    named = {metric.judge for metric in METRICS.values() if metric.judge}
    assert named == {*PUBLISHED, *SHIPPED_JUDGES}
    assert adapters.NETWORKS.keys() == FILES.keys() == NETWORKS.keys()
    used = {file: judge for judge, (files, _) in PUBLISHED.items() for file in files}
    assert {name: file.judge for name, file in FILES.items()} == used


def test_as_many_judges_as_can_be_had(published):
    judges, missing = load_judges(["panns", "yamnet", "panns"], published)
    assert list(judges) == ["panns"]
    assert list(missing) == ["yamnet"]


# ---------------------------------------------------------------------------------- of pairs


def film(seconds, rate_hz, side, seed=0):
    rng = np.random.default_rng(seed)
    count = round(seconds * rate_hz)
    pixels = rng.integers(0, 255, (count, side, side, 3)).astype(np.uint8)
    return Frames(pixels=pixels, times_s=np.arange(count) / rate_hz)


def test_desync_is_the_mean_size_of_both_offsets(published):
    judge = load_judge("synchformer", published)
    frames, samples = film(8.0, 25, 32), sound(8.0, 16000).mono()
    network = randomised(NETWORKS["synchformer"]())
    grid = np.arange(-10, 11) / 5
    with torch.no_grad():
        video = network.watch(torch.from_numpy(frames.pixels).permute(0, 3, 1, 2))
        heard = network.listen(torch.from_numpy(samples))
        assert len(video) == len(heard) == 24
        tops = [
            int(network.compare(video[at], heard[at]).argmax())
            for at in (slice(0, 14), slice(10, 24))
        ]
    assert judge.verdict(frames, samples) == pytest.approx(np.abs(grid[tops]).mean(), abs=1e-6)
    np.testing.assert_allclose(network.offsets_s, grid, atol=1e-6)


def test_desync_is_what_the_head_says_wherever_it_is_certain(published):
    judge = load_judge("synchformer", published)
    head = judge._network.transformer.off_head
    head.weight.data.zero_()
    for place, offset_s in ((0, 2.0), (10, 0.0), (13, 0.6), (20, 2.0)):
        head.bias.data.copy_(torch.nn.functional.one_hot(torch.tensor(place), 21))
        frames = film(4.8, 25, 32, seed=place)
        assert judge.verdict(frames, sound(5.0, 16000).mono()) == pytest.approx(offset_s, abs=1e-6)


def test_a_long_pair_is_looked_at_at_both_ends_alone_and_a_video_once(published):
    judge = load_judge("synchformer", published)
    seen, watch = [], judge._network.watch
    judge._network.watch = lambda pixels: seen.append(len(pixels)) or watch(pixels)
    frames = film(12.0, 25, 32)
    for seed in (0, 1):
        samples = np.random.default_rng(seed).uniform(-0.5, 0.5, 12 * 16000).astype(np.float32)
        assert 0 <= judge.verdict(frames, samples) <= 2
    assert seen == [120, 120]
    with pytest.raises(ValueError, match=r"4.76 s of video with 12.00 s .*'synchformer' needs 4.8"):
        judge.verdict(film(4.76, 25, 32), samples)
    with pytest.raises(ValueError, match=r"8.00 s of video with 4.00 s of sound"):
        judge.verdict(film(8.0, 25, 32), samples[: 4 * 16000])


def test_the_alignment_classifier_draws_the_same_latents_for_the_same_pair(published):
    judge = load_judge("diff-foley", published)
    frames, samples = film(10.0, 4, 32), sound(10.0, 16000).mono()
    probability = judge.verdict(frames, samples)
    assert 0 < probability < 1
    assert judge.verdict(frames, samples) == probability
    assert judge.verdict(frames, np.roll(samples, 20000)) != probability
    # By hand, from the networks.
    eye, classifier = (randomised(NETWORKS[name]()) for name in ("cavp", "diff-foley"))
    with torch.no_grad():
        features = eye(torch.from_numpy(frames.pixels).permute(0, 3, 1, 2))[:32]
        levels = diff_foley.mel_levels(torch.from_numpy(samples))
        torch.manual_seed(0)
        latents = classifier.latents(levels, torch.randn)
        assert probability == pytest.approx(float(classifier(latents, features)), abs=1e-6)
    with pytest.raises(ValueError, match="31 frames at 4 Hz, the judge 'diff-foley' needs 32"):
        judge.verdict(film(7.8, 4, 32), samples)
    with pytest.raises(ValueError, match=r"128000 samples at 16000 Hz, .* needs at least 131072"):
        judge.verdict(frames, samples[:128000])


def test_what_comes_after_the_stretch_does_not_matter_to_the_classifier(published):
    judge = load_judge("diff-foley", published)
    frames, samples = film(10.0, 4, 32), sound(10.0, 16000).mono()
    longer = film(14.0, 4, 32)
    longer = Frames(
        pixels=np.concatenate([frames.pixels, longer.pixels[40:]]), times_s=longer.times_s
    )
    changed = samples.copy()
    changed[512 * 256 + 1024 :] = 0.0
    assert judge.verdict(longer, changed) == judge.verdict(frames, samples)


def test_clap_as_a_judge_hears_ten_seconds_at_most(published):
    pytest.importorskip("transformers")
    judge = load_judge("clap", published)
    heard = preprocess_for(judge, sound(12.0))
    assert len(heard) == 480_000
    embedded = judge.embed(heard)
    assert embedded.shape == (1, 6)
    assert np.linalg.norm(embedded) == pytest.approx(1.0, abs=1e-6)
    with pytest.raises(ValueError, match="the judge 'clap' has no classes"):
        judge.logits(heard)


def test_clap_without_its_library_is_one_line(published, monkeypatch):
    (published / FILES["clap"].name).write_bytes(b"")
    file = replace(FILES["clap"], sha256=file_sha256(published / FILES["clap"].name))
    monkeypatch.setitem(FILES, "clap", file)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtra, match="needs the package 'transformers'") as caught:
        load_judge("clap", published)
    assert caught.value.hint == "pip install 'foleyflow[judges]'"
