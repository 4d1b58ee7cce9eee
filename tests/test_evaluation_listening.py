"""Judges from files: hashes, missing and foreign files, the published form with small weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_judges import SMALL_PASST, randomised

from foleyflow.errors import CheckpointError
from foleyflow.evaluation import listening
from foleyflow.evaluation.judge_files import (
    FILES,
    NOT_BUILT,
    SHIPPED_JUDGES,
    checked_file,
    fill_from,
)
from foleyflow.evaluation.judges import heard_by
from foleyflow.evaluation.listening import load_judge, load_judges
from foleyflow.evaluation.metrics import METRICS
from foleyflow.listeners.panns import Cnn14
from foleyflow.listeners.passt import Passt
from foleyflow.listeners.vggish import Vggish
from foleyflow.signals import Waveform
from foleyflow.weights import file_sha256

NETWORKS = {
    "vggish": lambda: Vggish((2, 3, 4, 5), 6),
    "panns": lambda: Cnn14((2, 3, 4, 5, 6, 7), 11),
    "passt": lambda: Passt(SMALL_PASST),
}


@pytest.fixture
def published(tmp_path, monkeypatch):
    """The three files in their published form, with small random weights; their hashes known."""
    for name, build in NETWORKS.items():
        file = FILES[name]
        tensors = randomised(build()).state_dict()
        if name == "vggish":
            tensors["pproc.pca_means"] = torch.zeros(128, 1)
        content = tensors
        if file.inner is not None:  # with what PANNs' file holds besides: a sampler's arrays
            content = {file.inner: tensors, "iteration": 1, "sampler": {"i": np.arange(3)}}
        torch.save(content, tmp_path / file.name)
        sha256 = file_sha256(tmp_path / file.name)
        monkeypatch.setitem(FILES, name, replace(file, sha256=sha256))
        monkeypatch.setitem(listening.PUBLISHED, name, (build, listening.PUBLISHED[name][1]))
    return tmp_path


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
    heard = heard_by(judge, sound(4.0))
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


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_one_line_that_says_which_belongs_where(tmp_path, name):
    with pytest.raises(CheckpointError, match=f"the judge '{name}' is not here") as caught:
        load_judge(name, tmp_path / "judges")
    assert str(tmp_path / "judges" / FILES[name].name) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert FILES[name].url in caught.value.hint and "curl -L" in caught.value.hint


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


def test_nothing_in_a_file_is_run(tmp_path, capsys):
    path = tmp_path / "a.pth"
    torch.save({"model": Harmful()}, path)
    with pytest.raises(CheckpointError, match="can't be read as tensors alone"):
        fill_from(NETWORKS["panns"](), path, FILES["panns"])
    assert "unpickled" not in capsys.readouterr().out


@pytest.mark.parametrize("name", NOT_BUILT)
def test_judges_without_a_loader_say_so(tmp_path, name):
    with pytest.raises(CheckpointError, match=f"'{name}' can't be loaded: .* no loader for it"):
        load_judge(name, tmp_path)


def test_every_judge_that_a_metric_names_is_known():
    named = {metric.judge for metric in METRICS.values() if metric.judge}
    assert named <= {*listening.PUBLISHED, *NOT_BUILT, *SHIPPED_JUDGES}
    assert listening.PUBLISHED.keys() == FILES.keys()


def test_as_many_judges_as_can_be_had(published):
    judges, missing = load_judges(["panns", "imagebind", "panns"], published)
    assert list(judges) == ["panns"]
    assert list(missing) == ["imagebind"]
