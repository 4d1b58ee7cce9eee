"""The benchmark: which figures are counted and reported, but not how long anything took."""

import itertools
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from support.cli_model import make_model, run_cli
from torch import nn

from foleyflow.experiments import benchmark, training_cost
from foleyflow.experiments.benchmark import Effort, Row, Workbench
from foleyflow.media import probe, read_frames
from foleyflow.media.measurement_clips import decode_with_pyav, repeat_clip, write_test_clip
from foleyflow.parallel.precision import bfloat16_is_fast, precision_on
from foleyflow.training.task import TrainConfig

EFFORT = Effort(
    width=128,
    height=96,
    rate_hz=10,
    duration_s=2.0,
    repeats=3,
    warm_runs=1,
    cold_runs=1,
    many_steps=3,
    matrix_side=64,
    recipe="smoke",
    training_steps=1,
    simulated_clips=1,
)


@pytest.fixture(scope="module")
def workbench(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench")
    return Workbench(folder, EFFORT, model=str(make_model(folder / "model")))


def test_the_test_clip_has_the_requested_size_and_moves(tmp_path):
    clip = write_test_clip(tmp_path / "clip.mp4", duration_s=2.0, width=128, height=96, rate_hz=10)
    info = probe(clip)
    assert (info.width, info.height, info.rate_hz, info.duration_s) == (128, 96, 10.0, 2.0)
    assert info.video_codec == "h264" and not info.has_audio
    frames = [picture.astype(int) for _, picture in read_frames(clip, size=96)]
    changes = [np.abs(b - a).mean() for a, b in itertools.pairwise(frames)]
    assert len(frames) == 20 and min(changes) > 1.0


def test_a_repeated_clip_shows_the_same_frames_on_one_time_line(tmp_path):
    clip = write_test_clip(tmp_path / "clip.mp4", duration_s=1.0, width=64, height=48, rate_hz=10)
    three = repeat_clip(clip, tmp_path / "three.mp4", times=3)
    assert probe(three).duration_s == pytest.approx(3.0, abs=1e-6)
    times_s, pictures = zip(*read_frames(three, size=48), strict=True)
    assert np.allclose(times_s, np.arange(30) / 10, atol=1e-6)
    assert all((pictures[i] == pictures[i + 20]).all() for i in range(10))


def test_plain_decoding_counts_every_frame(tmp_path):
    clip = write_test_clip(tmp_path / "clip.mp4", duration_s=1.5, width=64, height=48, rate_hz=20)
    assert decode_with_pyav(clip, size=32) == 30


@pytest.mark.parametrize(
    ("part", "units"),
    [
        (benchmark.warm_generation, ["s", "s", "ratio", "s"]),
        (benchmark.flow_and_codec, ["s", "ratio"]),
        (benchmark.decoding, ["ratio"]),
        (benchmark.training, ["TFLOP/s", "TFLOP/s", "ratio", "ratio", "ratio"]),
    ],
)
def test_rows_have_units_and_descriptions(workbench, part, units):
    rows = list(part(workbench))
    assert [row.unit for row in rows] == units
    for row in rows:
        cpu = torch.device("cpu")
        unused = not bfloat16_is_fast(cpu) and precision_on(cpu) == "fp32"
        if row.name == "matrix rate, bf16" and unused:
            assert row.value is None and "fp32" in row.how
        else:
            assert row.value is not None and row.value > 0
        assert row.how and row.name


def test_a_simulation_that_is_not_installed_is_reported(workbench, monkeypatch):
    monkeypatch.setitem(sys.modules, "foleyflow.simulation.dataset.simulate", None)
    (row,) = benchmark.simulation(workbench)
    assert row.value is None and row.how.startswith("not measured: ")
    assert row.unit == "frames/s/core"


def test_cold_commands_report_time_and_memory(workbench):
    rows = {row.name: row for row in benchmark.cold_generation(workbench)}
    short = rows["peak memory, short video"].value
    long = rows["peak memory, long video"].value
    assert 100 < short < 4000
    assert rows["peak memory, long over short"].value == pytest.approx(long / short)
    assert "6 s" in rows["peak memory, long video"].how
    assert rows["generate, cold command"].unit == "s"
    import_s = rows["import torch, cold"].value
    assert import_s > 0 and rows["generate, cold command"].value > 0
    limit = 1.8 * import_s + workbench.warm.alone_s
    assert rows["generate, cold command"].target == f"<= {limit:.2f}"


def test_the_busy_process_ends_with_its_context(monkeypatch):
    started = []
    plain = subprocess.Popen

    def recording_popen(*arguments, **settings):
        started.append(plain(*arguments, **settings))
        return started[-1]

    monkeypatch.setattr(benchmark.subprocess, "Popen", recording_popen)
    with pytest.raises(KeyError), benchmark.busy_core():
        assert started[0].poll() is None
        raise KeyError
    assert len(started) == 1 and started[0].returncode is not None


def test_the_ratio_is_that_of_the_previous_rows(workbench):
    alone, busy, ratio, both = benchmark.warm_generation(workbench)
    assert ratio.value == pytest.approx(busy.value / alone.value)
    assert ratio.target == "<= 2.0"
    assert all("load average" in row.how for row in (alone, busy, ratio, both))


def test_the_message_of_a_failed_command_is_reported(workbench, tmp_path):
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(benchmark.FoleyflowError, match="the file is empty"):
        workbench.command(tmp_path / "empty.mp4")


class MatrixTask:
    """One linear layer without bias, whose operations are known in closed form."""

    phases = ("only",)

    def __init__(self) -> None:
        self.modules = {"only": nn.Linear(32, 16, bias=False)}

    def sample_batch(self, rng, clips):
        return {"x": torch.ones(clips, 32)}

    def loss(self, phase, batch, step):
        return self.modules["only"](batch["x"]).square().mean(), {}


def test_operations_of_a_linear_layer_are_exact():
    config = TrainConfig(steps=1, batch_clips=8, bf16=False)
    flops, step_s = training_cost.step_cost(MatrixTask(), config, step=0, repeats=1)
    assert flops == 2 * (2 * 8 * 32 * 16)  # forward, and the weight's gradient
    assert step_s > 0


def test_attention_is_counted_on_the_cpu():
    shape = (2, 3, 10, 8)
    query, key, value = (torch.randn(shape, requires_grad=True) for _ in range(3))
    with training_cost.FlopCounterMode(
        display=False, custom_mapping=training_cost.CPU_ATTENTION
    ) as counter:
        mixed = nn.functional.scaled_dot_product_attention(query, key, value)
        forward = counter.get_total_flops()
        mixed.sum().backward()
    product = 2 * 2 * 3 * 10 * 10 * 8
    assert forward == 2 * product
    assert counter.get_total_flops() == 7 * product


def test_the_command_prints_a_line_per_row_and_one_object(monkeypatch, tmp_path):
    rows = [
        Row(name="first", value=1.25, unit="s", target="<= 2", how="by hand"),
        Row(name="second", value=None, unit="MB", how="not measured: no reason"),
    ]
    monkeypatch.setattr(benchmark, "PARTS", (lambda workbench: iter(rows),))
    model = make_model(tmp_path / "model")
    reported: list[Row] = []
    found = benchmark.measure(model=str(model), effort=EFFORT, on_row=reported.append)
    assert found == rows == reported
    monkeypatch.setattr("foleyflow.pretrained.EMBEDDED", model)
    outcome = run_cli("bench", "--out", tmp_path / "bench.json", "--json")
    report = outcome.answer
    assert set(report) == {"machine", "rows"}
    described = {"cpu", "cpu_features", "precision", "cores", "torch", "python", "os"}
    assert described <= report["machine"].keys()
    first = {"name": "first", "value": 1.25, "unit": "s", "target": "<= 2", "how": "by hand"}
    assert report["rows"][0] == first
    assert json.loads((tmp_path / "bench.json").read_text()) == report
    lines = outcome.error_lines
    assert len(lines) == 2 and "1.25" in lines[0] and lines[1].split()[1] == "-"


def test_the_path_of_the_report_is_checked_before_the_work(tmp_path):
    outcome = run_cli("bench", "--out", tmp_path / "nowhere" / "bench.json", "--json")
    assert outcome.status == 2
    assert "no such folder" in outcome.error_lines[0]
