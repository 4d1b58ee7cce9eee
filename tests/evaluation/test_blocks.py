"""Several processes, a Ray cluster and a killed run give the same report as one process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.cli_model import run_cli
from support.click_sounds import clicks, write_sound
from support.random_judge import RandomJudge

from foleyflow.errors import ConfigError, UsageError
from foleyflow.evaluation.blocks import TASK_CLIPS, Workers
from foleyflow.evaluation.cache import ResultCache
from foleyflow.evaluation.folder import evaluate_folder
from foleyflow.evaluation.run import evaluate
from foleyflow.evaluation.scoring import BLOCK_CLIPS

pytest.importorskip("librosa")

METRICS = ("onset_f1", "onset_ap", "log_spectral_distance", "KLD-sim", "FAD-sim")
CLIPS = TASK_CLIPS + BLOCK_CLIPS + 1


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Short clicks; one generated sound is broken, and one clip has no true onsets."""
    root = tmp_path_factory.mktemp("pairs")
    rng = np.random.default_rng(0)
    for index in range(CLIPS):
        times_s = np.sort(rng.uniform(0.1, 0.9, 3)) if index != 5 else []
        for side, late_s in (("true", 0.0), ("made", 0.03)):
            sound = clicks(np.add(times_s, late_s), duration_s=1.0, seed=index)
            write_sound(root / side / f"{index:03}.wav", sound)
    (root / "made" / "007.wav").write_bytes(b"no sound")
    return root / "made", root / "true"


@pytest.fixture(scope="module")
def expected(folders):
    return evaluate(*folders, metrics=METRICS)["generated"].to_json()


def test_blocks_of_clips_give_the_scores_of_all_of_them(folders):
    judges = {"passt": RandomJudge()}
    names = ["onset_f1", "kl_passt"]
    report = evaluate_folder(*folders, metrics=names, judges=judges)
    assert len(report.clips) == CLIPS - 1 and list(report.unreadable) == ["007"]
    # "other" is the true sound of the clip before, also where a block begins
    figure = report.scores["onset_f1"].figures["other"]
    assert figure.count == CLIPS - 1
    first = evaluate_folder(*folders, metrics=names, judges={"passt": RandomJudge()})
    assert first.to_json() == report.to_json()


def test_two_processes_give_the_same_report(folders, expected):
    calls = []
    reports = evaluate(
        *folders, metrics=METRICS, workers=2, progress=lambda *counts: calls.append(counts)
    )
    assert reports["generated"].to_json() == expected
    assert calls == [(2 * TASK_CLIPS, 2 * CLIPS), (2 * CLIPS, 2 * CLIPS)]


@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_a_ray_cluster_gives_the_same_report(folders, expected, monkeypatch):
    pytest.importorskip("ray", reason="work on many machines needs the extra 'cluster' (ray)")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[2]))
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    report = evaluate(*folders, metrics=METRICS, ray="local")["generated"]
    assert report.to_json() == expected


def test_workers_only_fill_the_cache(folders, tmp_path):
    def not_at_all(work, items):
        return iter(())

    cache = ResultCache(tmp_path / "cache")
    workers = Workers(parallel_map=not_at_all, judge_folder=tmp_path)
    report = evaluate_folder(*folders, metrics=["onset_f1"], cache=cache, workers=workers)
    assert report.to_json() == evaluate_folder(*folders, metrics=["onset_f1"]).to_json()


def test_a_killed_run_continues(folders, expected, tmp_path):
    cache = tmp_path / "cache"
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from foleyflow.evaluation.run import evaluate\n"
        f"names = {METRICS!r}\n"
        f"def progress(done, total):\n"
        f"    if done > {4 * BLOCK_CLIPS}:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "made, true, cache = map(Path, sys.argv[1:])\n"
        "evaluate(made, true, metrics=names, cache_folder=cache, progress=progress)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    command = [sys.executable, "-c", script, *map(str, folders), str(cache)]
    killed = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    kept = {path: path.stat().st_mtime_ns for path in cache.rglob("*.json")}
    assert len(kept) >= 2 * BLOCK_CLIPS

    # What the first run stored is complete, and the second one only reads it
    results = ResultCache(cache)
    judges_calls = evaluate_folder(*folders, metrics=["onset_f1"], cache=results)
    assert results.hits > BLOCK_CLIPS and judges_calls.synchrony is not None
    report = evaluate(*folders, metrics=METRICS, cache_folder=cache)["generated"]
    assert json.loads(json.dumps(report.to_json())) == json.loads(json.dumps(expected))


def test_the_command_takes_workers_and_a_device(folders, expected):
    flags = ("--metrics", "onset_f1,KLD-sim", "--device", "cpu", "--json")
    answer = run_cli("evaluate", *folders, *flags).answer
    wanted = expected["scores"]["KLD-sim"]["rows"]
    assert answer["scores"]["KLD-sim"]["rows"] == wanted


def test_options_that_do_not_fit_are_refused(folders):
    with pytest.raises(UsageError, match="--workers and --ray"):
        evaluate(*folders, workers=2, ray="local")
    with pytest.raises(UsageError, match="--ray auto: expected --cache FOLDER"):
        evaluate(*folders, ray="auto")
    with pytest.raises(ConfigError, match="expected auto, cpu, cuda"):
        evaluate(*folders, metrics=["KLD-sim"], device="tpu")
