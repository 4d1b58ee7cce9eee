"""The commands doctor, evaluate, data simulate and train on real files."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from support.cli_model import check_refusal, losses, make_model, run_cli, settings_flags
from support.media_files import contents_of
from support.small_judges import randomised

from foleyflow import pretrained
from foleyflow.data.clips import SimulatedClips
from foleyflow.features.sound_bank import sound_bank_folder
from foleyflow.features.store import open_store
from foleyflow.judges import adapters
from foleyflow.judges.networks.vggish import Vggish
from foleyflow.judges.weights import FILES
from foleyflow.media import probe, write_wav
from foleyflow.recipes import recipe_named
from foleyflow.weights import file_sha256, read_record

TIMES_S = {"a": [0.5, 1.0, 1.8], "b": [0.7, 1.4], "c": [0.3, 1.2, 1.6]}


def test_doctor_lists_all_findings(monkeypatch, tmp_path):
    monkeypatch.setattr(pretrained, "EMBEDDED", make_model(tmp_path / "model"))
    outcome = run_cli("doctor", "--json")
    findings = {entry["name"]: entry for entry in outcome.answer["findings"]}
    assert findings["embedded model"]["state"] == "ok"
    assert findings["package torch"]["state"] == findings["encoder aac"]["state"] == "ok"
    for entry in findings.values():
        assert entry["state"] in ("ok", "missing", "broken")
        assert entry["state"] == "ok" or entry["fix"]


def test_doctor_prints_how_to_fix_problems(monkeypatch, tmp_path):
    broken = make_model(tmp_path / "model")
    (broken / "flow.safetensors").write_bytes(b"nothing")
    monkeypatch.setattr(pretrained, "EMBEDDED", broken)
    outcome = run_cli("doctor")
    assert outcome.status == 1
    assert "broken   embedded model: " in outcome.stdout
    assert "fix: pip install" in outcome.stdout


def write_clicks(path: Path, times_s: list[float], *, late_s: float = 0.0) -> None:
    """Writes two seconds of sound with short noise bursts."""
    rng = np.random.default_rng(0)
    sound = np.zeros(96_000, np.float32)
    for time_s in times_s:
        start = round((time_s + late_s) * 48_000)
        fading = np.exp(-np.arange(96_000 - start) / 200) * rng.uniform(-0.5, 0.5, 96_000 - start)
        sound[start:] += fading.astype(np.float32)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_wav(path, [sound[None]], 48_000)


def write_cases(root: Path, files: dict[str, float], *, clips=TIMES_S) -> None:
    """Writes clicks for each clip into files with these names, each late by some seconds."""
    for case, times_s in clips.items():
        for name, late_s in files.items():
            write_clicks(root / name.format(case=case), times_s, late_s=late_s)


@pytest.mark.parametrize(
    ("late_s", "at_50_ms", "at_100_ms"), [(0.0, 1.0, 1.0), (0.03, 1.0, 1.0), (0.08, 0.0, 1.0)]
)
def test_evaluate_a_folder(tmp_path, late_s, at_50_ms, at_100_ms):
    pytest.importorskip("librosa")
    write_cases(tmp_path, {"true/{case}.wav": 0.0, "made/{case}.foley.wav": late_s})
    flags = ("--json", "--out", tmp_path / "report.json")
    outcome = run_cli("evaluate", tmp_path / "made", tmp_path / "true", *flags)
    assert outcome.status == 0, outcome.stderr
    answer = outcome.answer
    assert json.loads((tmp_path / "report.json").read_text()) == answer
    assert answer["count"] == 3
    windows = answer["synchrony"]["windows"]
    assert windows["50_ms"]["f1"]["mean"] == at_50_ms
    assert windows["100_ms"]["f1"]["mean"] == at_100_ms
    if at_50_ms:
        assert windows["50_ms"]["gain"]["mean"] > 0.5
        assert answer["synchrony"]["median_lag_s"] == pytest.approx(late_s, abs=0.006)


def test_evaluate_prints_a_table(tmp_path):
    pytest.importorskip("librosa")
    write_cases(tmp_path, {"true/{case}.wav": 0.0, "made/{case}.wav": 0.0})
    (tmp_path / "made" / "d.wav").write_text("no sound")
    (tmp_path / "true" / "d.wav").write_text("no sound")
    outcome = run_cli("evaluate", tmp_path / "made", tmp_path / "true")
    assert outcome.status == 0
    row = next(line for line in outcome.stdout.splitlines() if "±50 ms" in line)
    assert row.split()[:4] == ["3", "±50", "ms", "1.00"]
    assert "unreadable: 1" in outcome.stdout


def test_evaluate_several_systems(tmp_path):
    """A folder per clip holds the original sound and one file per system."""
    pytest.importorskip("librosa")
    write_cases(tmp_path, {"{case}/gt.wav": 0.0, "{case}/exact.wav": 0.0, "{case}/late.wav": 0.08})
    outcome = run_cli("evaluate", tmp_path, "--json")
    assert outcome.status == 0, outcome.stderr
    f1 = {
        system: report["synchrony"]["windows"]["50_ms"]["f1"]["mean"]
        for system, report in outcome.answer.items()
    }
    assert f1 == {"exact": 1.0, "late": 0.0}
    free = {system: each["synchrony"]["lag_free"] for system, each in outcome.answer.items()}
    assert {system: each["f1"]["mean"] for system, each in free.items()} == {
        "exact": 1.0,
        "late": 1.0,
    }
    text = run_cli("evaluate", tmp_path).stdout
    assert [line.split()[0] for line in text.splitlines()[1:] if line[:1].strip()] == [
        "exact",
        "late",
        "*",
    ]


def test_evaluate_with_patterns_and_without_silent_references(tmp_path):
    pytest.importorskip("librosa")
    write_cases(
        tmp_path, {"{case}/gt.wav": 0.0, "{case}/late.wav": 0.08}, clips={**TIMES_S, "still": []}
    )
    patterns = ("--generated-pattern", "{case}/late.wav", "--reference-pattern", "{case}/gt.wav")
    answer = run_cli("evaluate", tmp_path, tmp_path, *patterns, "--json").answer
    assert (answer["count"], answer["skipped"]) == (4, [])
    flags = (*patterns, "--skip-without-onsets", "--json")
    answer = run_cli("evaluate", tmp_path, tmp_path, *flags).answer
    assert (answer["count"], answer["skipped"]) == (3, ["still"])
    assert answer["synchrony"]["windows"]["50_ms"]["f1"]["mean"] == 0.0


def make_systems(root: Path) -> None:
    write_cases(root, {"{case}/gt.wav": 0.0, "{case}/late.wav": 0.08})


def test_evaluate_more_metrics_with_controls(tmp_path):
    pytest.importorskip("librosa")
    make_systems(tmp_path)
    flags = ("--metrics", "onset_f1, onset_f1_300ms,log_spectral_distance")
    outcome = run_cli("evaluate", tmp_path, *flags, "--json", "--out", tmp_path / "report.json")
    assert outcome.status == 0, outcome.stderr
    answer = outcome.answer
    assert json.loads((tmp_path / "report.json").read_text()) == answer
    scores = answer["late"]["scores"]
    assert list(scores) == ["onset_f1", "onset_f1_300ms", "log_spectral_distance"]
    assert list(scores["onset_f1"]["rows"]) == ["generated", "true", "silence", "noise", "other"]
    assert scores["onset_f1"]["rows"]["generated"]["value"] == 0.0
    assert scores["onset_f1_300ms"]["rows"]["generated"]["value"] == 1.0
    text = run_cli("evaluate", tmp_path, *flags).stdout
    assert text.startswith(run_cli("evaluate", tmp_path).stdout.rstrip())
    assert "! silence is as good or better, so the figure proves nothing about: late\n" in text


def test_evaluate_writes_a_page(tmp_path):
    pytest.importorskip("librosa")
    make_systems(tmp_path)
    page = tmp_path / "report.html"
    outcome = run_cli("evaluate", tmp_path, "--metrics", "onset_f1", "--html", page)
    assert outcome.status == 0, outcome.stderr
    text = page.read_text(encoding="utf-8")
    assert text.startswith("<!DOCTYPE html>") and text.rstrip().endswith("</html>")
    assert "<h2>onset_f1</h2>" in text and text.count("<audio") == 6


def test_evaluate_caches_values_in_a_given_folder(tmp_path):
    pytest.importorskip("librosa")
    make_systems(tmp_path / "peers")
    arguments = (tmp_path / "peers", "--metrics", "onset_f1", "--json")
    plain = run_cli("evaluate", *arguments).answer
    assert [path.name for path in tmp_path.iterdir()] == ["peers"]
    cached = (*arguments, "--cache", tmp_path / "kept")
    assert run_cli("evaluate", *cached).answer == plain
    kept = sorted((tmp_path / "kept").rglob("*.json"))
    assert kept
    # Values are read from the cache: a value that is changed there is reported.
    for path in kept:
        pack = json.loads(path.read_text())
        for result in pack["results"].values():
            if "values" in result:
                result["values"] = [0.25]
        path.write_text(json.dumps(pack))
    rows = run_cli("evaluate", *cached).answer["late"]["scores"]["onset_f1"]["rows"]
    assert {figure["value"] for figure in rows.values()} == {0.25}
    assert sorted((tmp_path / "kept").rglob("*.json")) == kept


def test_evaluate_refuses_a_file_as_a_cache(tmp_path):
    (tmp_path / "file").write_text("")
    outcome = run_cli("evaluate", tmp_path, tmp_path, "--cache", tmp_path / "file")
    assert outcome.status == 2
    assert "file: expected a folder for cached results" in outcome.error_lines[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((".", ".", "--metrics", "onset_f"), "no metric 'onset_f'; did you mean 'onset_f1'?"),
        (
            (".", ".", "--metrics", "kl_passt", "--judges", "there"),
            "judge 'passt': weights not found, expected there/passt-s-f128-p16-s10-ap",
        ),
        (
            (".", ".", "--metrics", "ib_score", "--judges", "there"),
            "judge 'imagebind': weights not found, expected there/imagebind_huge.pth",
        ),
        (
            (".", ".", "--protocol", "paper", "--judges", "there"),
            "judge 'passt': weights not found, expected there/passt-s-f128-p16-s10-ap",
        ),
        ((".", ".", "--protocol", "avbench"), "no protocol 'avbench': expected one of paper, av-"),
        (
            (".", ".", "--protocol", "paper", "--metrics", "onset_f1"),
            "--metrics and --protocol: a protocol names its own metrics",
        ),
        ((".", ".", "--html", "nowhere/page.html"), "nowhere: no such folder"),
        ((".", ".", "--html", "page", "--out", "./page"), "--out and --html are the same file"),
        ((".", "--generated-pattern", "{case}/late"), "a pattern was given, but no REFERENCE"),
        (("nowhere",), "nowhere: no such folder"),
        ((".", "nowhere"), "nowhere: no such folder"),
        ((".",), "no <case>/<system> sounds in it"),
        ((".", ".", "--out", "nowhere/report.json"), "nowhere: no such folder"),
        ((".", ".", "--out", "."), "is a directory"),
    ],
)
def test_evaluate_refuses(monkeypatch, tmp_path, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert message in check_refusal(run_cli("evaluate", *arguments))
    assert list(tmp_path.iterdir()) == []


def test_evaluate_a_protocol_with_the_available_judges(tmp_path, monkeypatch):
    def small():
        return Vggish((2, 3, 4, 5), 6)

    write_cases(
        tmp_path, {"true/{case}.wav": 0.0, "made/{case}.wav": 0.1}, clips={"a": [0.5], "b": [0.9]}
    )
    file = tmp_path / "judges" / FILES["vggish"].name
    file.parent.mkdir()
    torch.save(randomised(small()).state_dict(), file)
    known = replace(FILES["vggish"], sha256=file_sha256(file))
    monkeypatch.setitem(FILES, "vggish", known)
    monkeypatch.setitem(adapters.NETWORKS, "vggish", small)
    arguments = ("evaluate", tmp_path / "made", tmp_path / "true", "--protocol", "paper")
    outcome = run_cli(*arguments, "--judges", file.parent, "--json")
    assert outcome.status == 0, outcome.stderr
    answer = outcome.answer
    assert answer["protocol"]["name"] == "paper"
    assert list(answer["scores"]) == ["frechet_vggish", "generation_time"]
    assert answer["scores"]["frechet_vggish"]["judge"]["weights_sha256"] == file_sha256(file)
    assert set(answer["not_measured"]) == {"kl_passt", "align_acc"}
    assert "judge 'passt': weights not found, expected" in outcome.stderr
    assert "hint: mkdir -p" in outcome.stderr


def test_simulate_two_clips_and_rerun(tmp_path):
    pytest.importorskip("mujoco")
    command = ("data", "simulate", "--out", tmp_path / "sim", "--duration", "1", "--json")
    command += ("--workers", "1", "--split", "validation", "--seed", "3", "--clips", "2")
    outcome = run_cli(*command)
    assert outcome.status == 0, outcome.stderr
    answer = outcome.answer
    assert (answer["clips"], answer["skipped"], answer["crashes"]) == (2, 0, 0)
    assert answer["frames"] > 20 and answer["frames_per_core_s"] > 0
    clips = SimulatedClips(tmp_path / "sim", "validation")
    assert len(clips) == 2 and clips.duration_s == 1.0
    assert probe(clips.paths[0].with_suffix(".mp4")).duration_s == pytest.approx(1.0, abs=0.05)
    again = run_cli(*command).answer
    assert (again["clips"], again["skipped"]) == (0, 2)


def test_simulate_without_videos(tmp_path):
    pytest.importorskip("mujoco")
    command = ("data", "simulate", "--out", tmp_path / "sim", "--duration", "1", "--clips", "2")
    outcome = run_cli(*command, "--workers", "1", "--audio-only")
    assert outcome.status == 0, outcome.stderr
    assert outcome.stdout.startswith("2 clips created, 0 existed; ")
    assert "clips per second and core" in outcome.stdout and "frames" not in outcome.stdout
    assert len(list(tmp_path.rglob("*.flac"))) == 2 and not list(tmp_path.rglob("*.mp4"))
    refused = run_cli(*command)
    assert refused.status == 2 and refused.stdout == ""
    assert "audio_only=True, asked for False" in refused.error_lines[0]
    rate = run_cli(
        "data", "simulate", "--out", tmp_path / "x", "--clips", "1", "--rate", "5", "--audio-only"
    )
    assert rate.status == 2 and "expected none with audio_only" in rate.error_lines[0]
    # A training that needs frames
    train = run_cli("train", "align", "--data", tmp_path / "sim", "--out", tmp_path / "run")
    assert train.status == 2 and "has sounds without frames" in train.error_lines[0]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--split", "exam"), "'exam'"),
        (("--duration", "0"), "duration"),
        (("--duration", "nan"), "duration"),
    ],
)
def test_simulate_refuses(tmp_path, flags, message):
    pytest.importorskip("mujoco")
    outcome = run_cli("data", "simulate", "--clips", "1", "--out", tmp_path / "sim", *flags)
    assert outcome.status == 2 and outcome.stdout == ""
    assert message in outcome.error_lines[0]
    assert not (tmp_path / "sim").exists()


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    """Banks of noise in place of the codec recipe's sounds, so that none are simulated."""
    folder = tmp_path_factory.mktemp("sounds")
    bank = recipe_named("codec", "smoke").bank
    rng = np.random.default_rng(0)
    for config in (bank, replace(bank, split="validation", items=100)):
        shape = (config.items, round(config.duration_s * config.rate_hz))
        noise = {"sounds": rng.integers(-9000, 9000, shape, dtype=np.int16)}
        open_store(sound_bank_folder(folder, config), lambda arrays: arrays, [noise])
    return folder


def train(sounds: Path, out: Path, *settings: str, flags: tuple[str, ...] = ()):
    """Trains the smallest codec."""
    return run_cli(
        "train", "codec", "--recipe", "smoke", "--device", "cpu", "--json",
        "--data", sounds, "--out", out, *settings_flags(*settings), *flags,
    )  # fmt: skip


# Settings that make the recipe "polish" as small as "smoke".
POLISH_THE_SMOKE = (
    "model.encoder_width=32", "model.encoder_blocks=1", "model.decoder_width=32",
    "model.decoder_blocks=1", "model.fine_blocks=1", "model.mel_pca_bands=0",
    "losses.crop_s=0.2", "bank.items=8",
    "bank.duration_s=0.5", "train.steps=2", "train.batch_clips=2", "train.warmup_steps=1",
    "train.ema=0.0",
)  # fmt: skip


def test_train_and_rerun(sounds, tmp_path):
    full = tmp_path / "full"
    outcome = train(sounds, full)
    assert outcome.status == 0, outcome.stderr
    answer = outcome.answer
    assert (answer["components"], answer["steps"]) == (["codec"], 4)
    assert answer["model"] == str(full / "model") and answer["validation"]
    pretrained.load_codec(full / "model")

    # A finished run is not changed; more steps continue from its end.
    before, files = losses(full), contents_of(full)
    assert train(sounds, full).status == 0
    for name in ("journal.jsonl", "model/codec.safetensors"):
        assert contents_of(full)[name] == files[name]
    more = train(sounds, full, "train.steps=6")
    assert more.status == 0 and more.answer["steps"] == 6
    assert losses(full)[: len(before)] == before
    assert [entry["step"] for entry in losses(full) if "codec/loss" in entry] == [1, 2, 3, 4, 5, 6]


def test_training_uses_one_thread_unless_given(sounds, tmp_path):
    before = torch.get_num_threads()
    # 0 keeps the current number of threads.
    cases = (((), 2, 1), (("--threads", "2"), 1, 2), (("--threads", "0"), 2, 2))
    try:
        for number, (flags, given, wanted) in enumerate(cases):
            torch.set_num_threads(given)
            out = tmp_path / str(number)
            assert train(sounds, out, flags=flags).status == 0
            recorded = json.loads((out / "environment.json").read_text(encoding="utf-8"))
            assert recorded["threads"] == wanted
            assert torch.get_num_threads() == given
    finally:
        torch.set_num_threads(before)


def test_a_run_can_start_from_the_weights_of_another(sounds, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    assert train(sounds, first).status == 0
    flags = ("train", "codec", "--recipe", "polish", "--data", sounds, "--init", first / "model")
    tiny = [f"--set={key}" for key in POLISH_THE_SMOKE]
    outcome = run_cli(*flags, "--out", second, "--set", "train.learning_rate=1e-12", *tiny)
    assert outcome.status == 0, outcome.stderr
    weights = [load_file(run / "model" / "codec.safetensors") for run in (first, second)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    # The record names the initial weights, and the run can't be resumed with others.
    record = read_record(second / "model", "codec")
    initial = {"codec": file_sha256(first / "model" / "codec.safetensors")}
    assert record.provenance["init"] == initial
    outcome = run_cli(*flags[:-2], "--out", second, "--set", "train.learning_rate=1e-12", *tiny)
    assert outcome.status == 2 and "was started with other settings: init" in outcome.stderr


def test_missing_and_unfitting_initial_weights_are_refused(sounds, tmp_path):
    assert train(sounds, tmp_path / "small").status == 0
    flags = ("train", "align", "--recipe", "smoke", "--init", tmp_path / "small" / "model")
    outcome = run_cli(*flags, "--data", sounds, "--out", tmp_path / "align")
    assert outcome.status == 2
    assert "holds ['codec'], expected a component 'align'" in outcome.stderr
    flags = ("train", "codec", "--recipe", "polish", "--init", tmp_path / "small" / "model")
    changed = [f"--set={key}" for key in POLISH_THE_SMOKE if "decoder_width" not in key]
    outcome = run_cli(*flags, "--data", sounds, "--out", tmp_path / "wide", *changed)
    assert outcome.status == 2
    assert "does not fit its config" in outcome.stderr
    assert not (tmp_path / "wide" / "state.safetensors").exists()


def test_train_with_other_settings_is_refused(sounds, tmp_path):
    out = tmp_path / "run"
    assert train(sounds, out).status == 0
    before = contents_of(out)
    outcome = train(sounds, out, "train.batch_clips=4")
    assert outcome.status == 2
    assert "was started with other settings: settings.train.batch_clips" in outcome.stderr
    assert "another --out" in outcome.stderr
    assert contents_of(out) == before


@pytest.mark.parametrize("rate", ["inf", "1e30"])
def test_non_finite_values_stop_training_and_keep_the_last_good_state(sounds, tmp_path, rate):
    out = tmp_path / "run"
    first = ("train.steps=2", "train.save_every=1", "train.warmup_steps=1")
    assert train(sounds, out, *first).status == 0
    before = file_sha256(out / "state.safetensors")
    settings = ("train.steps=9", "train.save_every=9", "train.warmup_steps=1")
    outcome = train(sounds, out, *settings, f"train.learning_rate={rate}")
    assert outcome.status == 1
    lines = [line for line in outcome.error_lines if line.startswith(("foleyflow: ", "  hint: "))]
    assert "step" in lines[0] and "last good state is kept" in lines[1]
    assert "Traceback" not in outcome.stderr
    assert file_sha256(out / "state.safetensors") == before
    # The hint works.
    outcome = train(sounds, out, "train.steps=4", "train.warmup_steps=1")
    assert outcome.status == 0, outcome.stderr
    assert all(np.isfinite(entry.get("codec/loss", 0)) for entry in losses(out))


def test_a_state_with_non_finite_values_is_never_saved(sounds, tmp_path):
    out = tmp_path / "run"
    assert train(sounds, out, "train.steps=2", "train.save_every=1").status == 0
    before = file_sha256(out / "state.safetensors")
    settings = ("train.steps=3", "train.save_every=1", "train.learning_rate=inf")
    outcome = train(sounds, out, *settings)
    assert outcome.status == 1
    assert "not finite" in outcome.stderr
    assert file_sha256(out / "state.safetensors") == before


def test_train_dry_run_prints_the_full_configuration(tmp_path):
    outcome = run_cli(
        "train", "align", "--recipe", "smoke", "--out", tmp_path / "run", "--dry-run",
        "--set", "train.steps=7", "--set", "train.bf16=false", "--data", "clips",
    )  # fmt: skip
    assert outcome.status == 0
    answer = outcome.answer
    assert (answer["task"], answer["recipe"], answer["data"]) == ("align", "smoke", "clips")
    assert answer["settings"]["train"]["steps"] == 7
    assert answer["settings"]["train"]["bf16"] is False
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (("codec", "--set", "train.step=9"), "--set train.step: no such", "train.steps?"),
        (("codec", "--set", "train.learningrate=9"), "no such setting", "train.learning_rate?"),
        (("flow", "--set", "dcf_steps=9"), "no such setting", "stages.dcf_steps?"),
        (("codec", "--set", "train.steps"), "expected key=value", "--dry-run"),
        (("codec", "--set", "train.steps=many"), "--set train.steps=many: expected int", "--dry"),
        (("codec", "--set", "train.steps=0"), "train.steps=0: expected at least 1", ""),
        (("codec", "--set", "train.learning_rate=-1"), "learning_rate=-1.0 (> 0)", ""),
        (("align", "--set", "model.heads=5"), "heads=5", ""),
        (("codecs",), "task 'codecs': expected one of codec, align, flow", "codec?"),
        (("codec", "--recipe", "tinny"), "'tinny' of codec: expected one of tiny, polish", "tiny?"),
        (("align", "--recipe", "smoke", "--device", "abacus"), "device 'abacus'", "auto"),
        (("align", "--recipe", "smoke"), "manifest.json", "foleyflow data simulate"),
    ],
)
def test_train_refuses(tmp_path, arguments, message, hint):
    outcome = run_cli("train", *arguments, "--data", tmp_path / "data", "--out", tmp_path / "run")
    assert outcome.status == 2, outcome.stderr
    assert outcome.stdout == ""
    assert message in outcome.error_lines[0] and outcome.error_lines[0].startswith("foleyflow: ")
    assert hint in "".join(outcome.error_lines[1:])
    assert list(tmp_path.iterdir()) == []
