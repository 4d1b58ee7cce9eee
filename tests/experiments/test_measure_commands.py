"""`foleyflow measure` and `foleyflow data examples` on the command line, with small models."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest
from matplotlib.image import imread
from support.cli_model import ROOT, make_model, run_cli
from support.small_encoders import ALL, small

from foleyflow.experiments import measure_encoders
from foleyflow.experiments.measure_evaluation import ExclusiveStopwatch
from foleyflow.judges.weights import SHIPPED
from foleyflow.pretrained import EMBEDDED, aligner_segments, load_aligner

COMMANDS = (
    "adaptation aligner calibration ceiling codec cues delivery encoders evaluation events flow "
    "judges materials mixture places real-cues real-events reference scales spectrograms training "
    "vocoder"
).split()


def report(*arguments: object) -> dict:
    """The JSON of a command that succeeds."""
    outcome = run_cli("measure", *map(str, arguments), "--json")
    assert outcome.status == 0, outcome.stderr
    return outcome.answer


def test_help_lists_every_command_without_torch():
    code = (
        "import sys\n"
        "from foleyflow.cli.app import app\n"
        f"for command in {COMMANDS!r}:\n"
        "    try:\n"
        "        app(['measure', command, '--help'], prog_name='foleyflow')\n"
        "    except SystemExit as stop:\n"
        "        assert not stop.code, command\n"
        "sys.exit(', '.join({'torch', 'numpy', 'av'} & sys.modules.keys()) or None)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    help_text = run_cli("measure", "--help").stdout
    assert [name for name in COMMANDS if f"\n  {name} " not in help_text] == []


def test_aligner_uses_the_window_length_of_its_training(
    smoke_runs, smoke_model, simulated_data, clip_file, tmp_path
):
    for name in ("one.mp4", "two.mp4"):
        shutil.copy(clip_file, tmp_path / name)
    found = report(
        *("aligner", smoke_model, simulated_data, "--recipe", "smoke", "--real", tmp_path),
        *("--set", f"codec={smoke_runs / 'codec/model'}", "--probe-clips", 6),
    )
    assert 0 <= found["probe"]["event_f1"]["mean"] <= 1
    assert {"r2", "r2_gain_interval", "onset_f1"} <= found["recovery"].keys()
    assert set(found["real"]) == {"f1", "shuffled_f1", "gain", "median_lag_s"}
    recipe = json.loads((smoke_runs / "align/config.json").read_text())["settings"]
    assert aligner_segments(smoke_model) == recipe["windows"]["segments"] != 40
    assert aligner_segments(EMBEDDED) is None or aligner_segments(EMBEDDED) > 0


def test_codec(smoke_model, simulated_data, judge):
    arguments = ("codec", simulated_data, "--model", smoke_model, "--clips", 2)
    found = report(*arguments, "--judge", judge)
    assert found["clips"] == 2 and found["distance_db"] > 0
    assert set(found["tones_db"]) == {"220", "500", "1000", "2000", "4000", "8000"}
    assert 0 <= found["material_recognised_decoded"] <= 1


def test_ceiling_of_simulated_clips(smoke_model, simulated_data, tmp_path):
    out = tmp_path / "ceiling.json"
    found = report(
        *("ceiling", simulated_data, "--model", smoke_model, "--split", "train"),
        *("--clips", 3, "--device", "cpu", "--judges", tmp_path / "empty", "--out", out),
    )
    assert found["clips"] == 3 and found["rate_hz"] == 48_000
    assert found["ceiling"]["KLD-sim"]["count"] == 3 and found["ceiling"]["FAD-sim"]["mean"] > 0
    # Judges of sounds whose weights are missing
    assert set(found["not_measured"]) == {"KLD", "FAD"}
    assert found["log_spectral_distance_db"]["2048"]["mean"] > 0
    assert found["onset_f1"].keys() == {"50 ms", "10 ms"}
    assert "all onsets" in found["pre_echo_db"]
    assert json.loads(out.read_text()) == found


def test_ceiling_of_two_codecs_is_compared_clip_by_clip(smoke_model, simulated_data, tmp_path):
    arguments = ("--model", smoke_model, "--split", "train", "--clips", 2, "--device", "cpu")
    command = ("ceiling", simulated_data, *arguments, "--judges", tmp_path / "empty")
    same = report(*command, "--baseline", smoke_model)
    groups = {"log_spectral_distance_db", "onset_f1", "pre_echo_db"}
    assert same["difference"].keys() == groups
    for group in groups:
        assert same[group] == same["baseline"][group]
        for part in same["difference"][group].values():
            assert part["mean"] == part["low"] == part["high"] == 0


def test_vocoder(simulated_data, tmp_path):
    """On any data set: Griffin-Lim is near its own levels, and an untrained network is not."""
    outcome = run_cli(
        *("train", "vocoder", "--recipe", "smoke", "--device", "cpu"),
        *("--data", simulated_data, "--out", tmp_path / "run"),
    )
    assert outcome.status == 0, outcome.stderr
    found = report("vocoder", simulated_data, "--model", tmp_path / "run/model", "--clips", 2)
    assert (found["clips"], found["rate_hz"]) == (2, 8000)
    differences = {
        name: found[name]["mel_difference_db"]
        for name in ("griffin_lim", "vocoder", "griffin_lim_128_columns")
    }
    assert differences["griffin_lim"] < 1.0 < min(differences["vocoder"], 5.0)
    assert differences["griffin_lim"] < differences["griffin_lim_128_columns"]
    assert set(report("vocoder", simulated_data, "--clips", 1)).isdisjoint({"vocoder"})


def test_encoders_of_video_and_sound(monkeypatch, tmp_path, timm):
    names = ["mae", "audiomae"]
    small_ones = {name: small(name) for name in names}
    for module in (measure_encoders, sys.modules["foleyflow.encoders.catalogue"]):
        for kind in ("VIDEO_ENCODERS", "SOUND_ENCODERS"):
            known = getattr(module, kind)
            changed = {name: small_ones.get(name, ALL[name]) for name in known}
            monkeypatch.setattr(module, kind, changed)
    in_this_process = lambda function, *arguments: function(*arguments)  # noqa: E731
    monkeypatch.setattr(measure_encoders, "in_new_process", in_this_process)
    out = tmp_path / "encoders.json"
    found = report("encoders", *names, "--frames", 2, "--out", out)
    assert [each["encoder"] for each in found["encoders"]] == names
    assert [each["frames"] for each in found["encoders"]] == [2, None]
    assert json.loads(out.read_text()) == found


def test_an_unknown_encoder_is_refused():
    outcome = run_cli("measure", "encoders", "mea")
    assert outcome.status == 2 and "encoder 'mea': expected one of" in outcome.stderr


def test_evaluation_counts_each_group_of_metrics(tmp_path):
    found = report("evaluation", "--pairs", 2, "--folder", tmp_path)
    assert found["pairs"] == 2
    assert {"reading", "silence"} <= found["parts"].keys()
    seconds = sum(part["core_seconds"] for part in found["parts"].values())
    elsewhere = found["elsewhere_core_seconds"]
    assert seconds + elsewhere == pytest.approx(found["core_seconds"], abs=0.02)
    assert found["metrics"]["onset_f1"] > 0 and found["core_hours_for_15000_clips"] > 0
    assert "judges" not in found


def test_operations_of_judges_are_counted_without_weights(tmp_path):
    found = report("evaluation", "--pairs", 2, "--folder", tmp_path, "--judges", "--tflops", 100)
    gflop = found["judges"]["gflop_for_10_s"]
    # 85 million weights for each of 1,190 patches, and attention among them
    assert gflop["passt"]["sound"] == pytest.approx(2 * 0.085 * 1190 * 1.25, rel=0.05)
    assert gflop["synchformer"]["video"] > 10 * gflop["passt"]["sound"]
    for protocol in found["judges"]["protocols"].values():
        operations = protocol["further_system_gflop_per_clip"]
        assert operations < protocol["first_system_gflop_per_clip"]
        rate = protocol["further_system_clips_per_s"]
        assert rate == pytest.approx(100_000 / operations, rel=0.01)


def test_a_nested_part_is_counted_once(monkeypatch):
    now = iter([0.0, 1.0, 3.0, 7.0, 15.0])
    monkeypatch.setattr(
        "foleyflow.experiments.measure_evaluation.time.process_time", lambda: next(now)
    )
    stopwatch = ExclusiveStopwatch()
    inner = stopwatch.timed("inner", lambda: None)
    stopwatch.timed("outer", inner)()
    assert dict(stopwatch.seconds) == {"outer": 2.0 + 8.0, "inner": 4.0}


def test_events_in_simulated_clips(smoke_model, simulated_data):
    found = report("events", simulated_data, "--model", smoke_model, "--clips", 3)
    assert set(found["onsets_of_true_sound"]) == {"0.3", "0.4", "0.5", "0.6", "0.7"}
    assert sum(found["clips"].values()) <= 3


def test_events_in_recordings(tmp_path, clip_file):
    model = make_model(tmp_path / "model")
    clips = [shutil.copy(clip_file, tmp_path / name) for name in ("one.mp4", "two.mp4")]
    found = report("real-events", *clips, "--model", model)
    assert set(found["clips"]) == {"one", "two"}
    assert {"within 50 ms", "within 100 ms", "at the best lags", "recall_by_gap_s"} <= found.keys()
    assert 0 <= found["recall"] <= 1 and 0 <= found["precision"] <= 1


def test_flow_writes_its_report_and_a_plot(smoke_model, simulated_data, tmp_path):
    out, picture = tmp_path / "flow.json", tmp_path / "flow.png"
    places = ("flow", smoke_model, simulated_data, "--out", out, "--picture", picture)
    found = report(*places, "--clips", 3, "--density-clips", 2, "--threads", 1)
    assert json.loads(out.read_text()) == found
    assert list(found["curves"]) == ["map", "euler"]
    for points in found["curves"].values():
        assert list(points) == ["1", "2", "4", "8", "25"]
        assert all(figures["flow_s_per_10s"] > 0 for figures in points.values())
    assert found["clips"] == 3 and found["density"]["clips"] == 2
    assert imread(picture).ndim == 3


def test_judges(simulated_data):
    found = report("judges", SHIPPED, simulated_data, "--judges", "tagger", "--split", "validation")
    assert list(found) == ["tagger"]
    assert all(isinstance(value, float) for value in found["tagger"].values())


def test_materials(clip_file, tmp_path):
    model = make_model(tmp_path / "model")
    found = report("materials", clip_file, "--model", model)
    assert found["clips"] == [clip_file.name]
    labels = load_aligner(model).config.materials
    assert len(found["materials"]) == 1 + labels
    assert all(set(each) == {"fall_20db_s", "centroid_hz"} for each in found["materials"].values())


def test_scales_have_a_result_for_each_stage():
    found = report("scales", "--recipe", "smoke", "--threads", 1)
    stages = [each["stage"] for each in found["scales"]]
    assert stages == ["align", "flow matching", "one-step map", "codec"]
    for each in found["scales"]:
        assert each["gflop_per_clip"] >= 0 and each["kept_mb_per_clip"] > 0
        assert ("sounded_10s_s" in each) == (each["stage"] == "one-step map")


def test_scales_count_the_teacher_and_the_critic():
    recipes = ("tiny", "merge", "quarters", "polish")
    flags = [part for name in recipes for part in ("--recipe", name)]
    found = report("scales", "--task", "flow", *flags, "--threads", 1)["scales"]
    stages = ["flow matching", "distillation", "distillation", "polish"]
    assert [each["stage"] for each in found] == stages
    # Beyond flow matching: 4 evaluations of the teacher, and 12, each a third of a training pass
    matching, merge, quarters, polish = (each["gflop_per_clip"] for each in found)
    assert quarters - matching == pytest.approx(3 * (merge - matching), rel=0.05)
    assert polish > 2 * matching  # three updates


def test_training(smoke_runs, simulated_data, monkeypatch):
    monkeypatch.setattr("foleyflow.experiments.training_cost.MATRIX_SIDE", 64)
    found = report("training", simulated_data, "--task", "codec", "--recipe", "smoke")
    assert found["step_s"] > 0 and found["time_shares"]


def test_text_has_a_line_for_each_figure(smoke_model, simulated_data):
    outcome = run_cli("measure", "codec", simulated_data, "--model", smoke_model, "--clips", "1")
    assert outcome.status == 0, outcome.stderr
    lines = outcome.stdout.splitlines()
    assert "clips: 1" in lines and "tones_db:" in lines
    assert [line for line in lines if line.startswith("  220: ")]


def test_examples_are_rendered(tmp_path, monkeypatch):
    pytest.importorskip("mujoco", reason="needs the extra 'physics' (mujoco)")
    rendered = {}
    monkeypatch.setattr(
        "foleyflow.simulation.dataset.simulate.write_example",
        lambda path, **settings: rendered.update({path.name: settings}),
    )
    outcome = run_cli("data", "examples", "--out", tmp_path / "examples")
    assert outcome.status == 0, outcome.stderr
    assert list(rendered) == ["chopping.mp4", "drums.mp4", "falling.mp4"]
    assert rendered["drums.mp4"] == {"seed": 5, "family": "drums", "duration_s": 6.0}
    assert (tmp_path / "examples").is_dir()


def test_a_missing_simulator_is_reported(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mujoco", None)
    for command in (("examples",), ("simulate", "--clips", "1")):
        outcome = run_cli("data", *command, "--out", tmp_path / "out")
        assert outcome.status == 2 and "pip install 'foleyflow[physics]'" in outcome.stderr


def test_scales_of_a_codec_count_both_phases():
    found = report("scales", "--task", "codec", "--recipe", "smoke-general", "--threads", 1)
    discriminators, codec = found["scales"]
    assert (discriminators["stage"], codec["stage"]) == ("discriminators", "codec")
    assert all(each["kept_mb_per_clip"] > 0 for each in found["scales"])
    assert codec["parameters_m"] == 0.1 > discriminators["parameters_m"]
