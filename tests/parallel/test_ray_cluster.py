"""Work on a local Ray cluster is complete and in order, even if a worker is killed."""

from __future__ import annotations

import functools
import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from support.cli_model import make_model, run_cli, settings_flags
from support.local_ray import local_cluster
from support.media_files import contents_of, make_video
from support.ray_work import current_precision, recorded_square, square_or_fail
from support.small_vggsound import CLIP_S, SEGMENT_S, make_small_vggsound

pytest.importorskip("ray", reason="work on many machines needs the extra 'cluster' (ray)")

from foleyflow.data.clips import SimulatedClips
from foleyflow.data.export import export_split
from foleyflow.errors import ConfigError, FoleyflowError, MediaError, MissingExtra
from foleyflow.features.frames import Split, mono_sounds
from foleyflow.parallel import ray_cluster
from foleyflow.parallel.precision import precision_set_to, precision_setting
from foleyflow.parallel.ray_cluster import RayCluster

# Ray emits deprecation warnings, and warnings about sockets that it closes at exit.
pytestmark = pytest.mark.filterwarnings("ignore")
CLIPS = 50


@pytest.fixture(scope="module")
def local_ray():
    """A Ray cluster on this machine with two workers, shared by all tests of this file."""
    with local_cluster() as started:
        yield started


@contextmanager
def killed_when_found(find: Callable[[], list[int]]) -> Iterator[list[int]]:
    """Kills the first process that `find` returns during the block; yields its id in a list."""
    killed: list[int] = []

    def kill() -> None:
        while not (found := find()):
            time.sleep(0.01)
        killed.append(found[0])
        os.kill(found[0], signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    yield killed
    thread.join()


def test_work_of_a_killed_worker_is_repeated(local_ray, tmp_path):
    def workers() -> list[int]:
        return [int(path.name.split("-")[2]) for path in tmp_path.glob("started-5-*")]

    work = functools.partial(recorded_square, tmp_path)
    with killed_when_found(workers) as killed:
        results = list(local_ray.parallel_map(work, range(20)))
    assert [square for square, _ in results] == [n**2 for n in range(20)]
    assert killed[0] not in [worker for number, (_, worker) in enumerate(results) if number >= 5]
    times = {
        state: Counter(int(path.name.split("-")[1]) for path in tmp_path.glob(f"{state}-*"))
        for state in ("started", "ended")
    }
    assert times["ended"] == Counter(range(20))  # each item once
    assert times["started"] - times["ended"] == Counter([5])


def test_relative_paths_are_those_of_the_caller(local_ray, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "work").mkdir()
    list(local_ray.parallel_map(functools.partial(recorded_square, Path("work")), [1]))
    assert len(list((tmp_path / "work").iterdir())) == 2


def test_workers_use_the_precision_of_the_caller(local_ray):
    before = precision_setting()
    chosen = "fp32" if before == "bf16" else "bf16"
    with precision_set_to(chosen):
        found = list(local_ray.parallel_map(current_precision, range(3)))
    assert found == [(number, chosen) for number in range(3)]
    assert list(local_ray.parallel_map(current_precision, [3])) == [(3, before)]


def test_errors_of_the_work_are_raised_unchanged(local_ray):
    with pytest.raises(MediaError, match=r"^three is odd$") as caught:
        list(local_ray.parallel_map(square_or_fail, range(5)))
    assert caught.value.hint == "take four"


def test_work_that_kills_its_workers_fails_after_some_attempts(local_ray, monkeypatch):
    monkeypatch.setattr(ray_cluster, "ATTEMPTS", 2)
    with pytest.raises(FoleyflowError, match=r"a worker died 2 times at the same work"):
        list(local_ray.parallel_map(square_or_fail, [7]))


def test_items_are_taken_when_they_are_needed(local_ray):
    taken: list[int] = []

    def items():
        for number in range(10, 100):
            taken.append(number)
            yield number

    results = local_ray.parallel_map(square_or_fail, items(), max_pending=3)
    assert [next(results) for _ in range(4)] == [100, 121, 144, 169]
    results.close()
    assert len(taken) == 6


def test_an_address_without_a_cluster_is_refused(monkeypatch):
    import ray

    if ray.is_initialized():
        monkeypatch.setattr(ray, "is_initialized", lambda: False)
        monkeypatch.setattr(ray, "init", lambda **_: (_ for _ in ()).throw(ConnectionError("no")))
    with pytest.raises(ConfigError, match=r"--ray auto: ") as caught, RayCluster("auto"):
        pass
    assert "ray start --head" in caught.value.hint


def test_a_missing_ray_names_its_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(MissingExtra, match="'ray'") as caught:
        RayCluster("local")
    assert "foleyflow[cluster]" in caught.value.hint


def falling(index: int, *, clip: int) -> np.ndarray:
    picture = np.full((32, 48, 3), 4 * clip, np.uint8)
    top = min(20, 3 * index)
    picture[top : top + 8, 20:28] = (230, 190, 120)
    return picture


def busy_workers() -> list[int]:
    """Descendants of this process that run tasks of Ray."""
    parents, busy = {}, []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = status.read_text()
            command = (status.parent / "cmdline").read_bytes()
        except OSError:
            continue  # the process has ended
        parents[int(status.parent.name)] = int(text.rpartition(")")[2].split()[1])
        if command.startswith(b"ray::_do"):
            busy.append(int(status.parent.name))

    def is_descendant(process: int) -> bool:
        while process > 1 and process != os.getpid():
            process = parents.get(process, 0)
        return process == os.getpid()

    return [process for process in busy if is_descendant(process)]


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
def test_a_batch_with_a_killed_worker_equals_a_serial_one(local_ray, tmp_path):
    model = make_model(tmp_path / "model")
    videos = [
        make_video(
            tmp_path / f"clip{n:02d}.mp4",
            n_frames=6 + n % 5,
            width=48,
            height=32,
            painter=functools.partial(falling, clip=n),
        )
        for n in range(CLIPS)
    ]
    broken = tmp_path / "broken.mp4"
    broken.write_text("no video")
    flags = ("--model", model, "--audio-only", "--events", "--device", "cpu", "--json")
    serial, parallel = tmp_path / "serial", tmp_path / "parallel"
    local = run_cli("generate", *videos, broken, *flags, "-o", f"{serial}/")

    def workers() -> list[int]:
        return busy_workers() if len(list(parallel.glob("*.wav"))) >= 8 else []

    output = f"{parallel}/"
    with killed_when_found(workers) as killed:
        outcome = run_cli("generate", *videos, broken, *flags, "-o", output, "--ray", "auto")
    assert killed
    assert (local.status, outcome.status) == (2, 2)  # because of the broken clip
    answer = outcome.answer
    assert [entry["video"] for entry in answer["results"]] == [str(video) for video in videos]
    assert [entry["video"] for entry in answer["errors"]] == [str(broken)]
    assert "not a media file" in answer["errors"][0]["error"] and answer["errors"][0]["hint"]
    for entry, other in zip(answer["results"], local.answer["results"], strict=True):
        assert entry["cues"] == other["cues"]
    names = sorted(path.name for path in serial.iterdir())
    assert sorted(path.name for path in parallel.iterdir()) == names  # and no draft
    assert len([name for name in names if name.endswith(".wav")]) == CLIPS
    for name in names:
        assert (parallel / name).read_bytes() == (serial / name).read_bytes(), name
    before = {path.name: path.stat().st_mtime_ns for path in parallel.iterdir()}
    again = run_cli("generate", *videos, *flags, "-o", f"{parallel}/", "--ray", "auto").answer
    assert len(again["skipped"]) == CLIPS and again["results"] == []
    assert {path.name: path.stat().st_mtime_ns for path in parallel.iterdir()} == before


def test_existing_outputs_are_refused_before_any_work(local_ray, tmp_path):
    model = make_model(tmp_path / "model")
    video = make_video(tmp_path / "clip.mp4", n_frames=6)
    output = tmp_path / "clip.foley.mp4"
    output.write_text("mine")
    outcome = run_cli("generate", video, "--model", model, "--ray", "auto")
    assert outcome.status == 2 and "already exists" in outcome.stderr
    assert output.read_text() == "mine"


def test_simulated_clips_equal_those_of_local_processes(local_ray, simulated_data, tmp_path):
    from support import bouncing_ball

    from foleyflow.simulation.dataset.simulate import simulate

    settings = {"clips": 4, "seed": 11, "split": "test", "duration_s": 1.2}
    calls: list[tuple[int, int]] = []
    for created in (4, 0):
        summary = simulate(
            tmp_path,
            **settings,
            ray="auto",
            sample_scene=bouncing_ball.sample_scene,
            progress=lambda done, wanted: calls.append((done, wanted)),
        )
        assert (summary.clips, summary.skipped) == (created, 4 - created)
    assert calls == [(0, 4), (4, 4), (4, 4)]
    files = sorted(p.relative_to(tmp_path) for p in (tmp_path / "test").rglob("clip_*"))
    assert len(files) == 12
    for name in files:
        assert (tmp_path / name).read_bytes() == (simulated_data / name).read_bytes(), name


def test_shards_of_real_clips_equal_those_of_local_threads(local_ray, tmp_path):
    listing, clips = make_small_vggsound(tmp_path / "source")
    few = tmp_path / "few.csv"
    lines = listing.read_text(encoding="utf-8").splitlines()
    few.write_text("\n".join(lines[k] for k in (0, 1, 2, 3, 48, 59)) + "\n", encoding="utf-8")
    found = []
    for name, ray in (("here", ()), ("ray", ("--ray", "local"))):
        out = tmp_path / name
        command = ["data", "vggsound", few, clips, "--out", out, "--duration", str(CLIP_S), *ray]
        outcome = run_cli(*command, "--segment", str(SEGMENT_S), "--json")
        assert outcome.status == 0, outcome.stderr
        shards = {path.name: path.read_bytes() for path in out.glob("*/shard-*.tar")}
        found.append((json.loads(outcome.stdout), (out / "manifest.csv").read_bytes(), shards))
    assert found[0] == found[1]
    assert found[0][0]["rejected"] == {"no sound": 1, "duplicate": 1} and found[0][2]


def test_exported_clips_equal_those_of_local_threads(local_ray, simulated_data, tmp_path):
    for name, parallel_map in (("serial", None), ("on a cluster", local_ray.parallel_map)):
        summary = export_split(
            simulated_data, "test", tmp_path / name, workers=1, parallel_map=parallel_map
        )
        assert (summary.clips, summary.problems) == (4, {})
    assert contents_of(tmp_path / "on a cluster") == contents_of(tmp_path / "serial")


def test_prepared_features_equal_those_computed_locally(local_ray, fresh_data, smoke_runs):
    found = {}
    parts = [f"{part}={smoke_runs / part / 'model'}" for part in ("codec", "align")]
    for name, flags in (("local", ()), ("ray", ("--ray", "auto"))):
        data = fresh_data(name)
        command = ["data", "prepare", "flow", "--recipe", "smoke", "--data", data, "--json"]
        outcome = run_cli(*command, *settings_flags(*parts, "views=2"), *flags)
        assert outcome.status == 0, outcome.stderr
        assert outcome.answer["windows"] == {"train": 12, "validation": 4}
        assert bool(outcome.answer["stores"]) == (name == "ray")
        for store in outcome.answer["stores"]:
            # The figures of each worker, none of which is this process
            assert (store["gpu"], store["found"]) == (False, 0) and store["workers"]
            for worker in store["workers"]:
                assert worker["worker"].rpartition(":")[2] != str(os.getpid())
                assert worker["entries"] > 0 and worker["entries_per_s"] > 0
        found[name] = {
            path.relative_to(data): path.read_bytes()
            for hidden in data.glob(".*")
            for path in ([hidden] if hidden.is_file() else hidden.rglob("*"))
            if path.is_file()
        }
    assert found["local"].keys() == found["ray"].keys()
    stores = {path.parts[0].split("-")[0] for path in found["local"]}
    assert stores == {".frames", ".latents", ".flow_conditions"}
    for name, content in found["local"].items():
        assert found["ray"][name] == content, name


def test_throughput_of_each_worker_is_printed(local_ray, fresh_data, smoke_runs):
    parts = [f"{part}={smoke_runs / part / 'model'}" for part in ("codec", "align")]
    command = ["data", "prepare", "align", "--recipe", "smoke", "--data", fresh_data("data")]
    command += [*settings_flags(*parts[:1]), "--ray", "auto"]
    first, again = run_cli(*command), run_cli(*command)
    assert "latents-train: 6 computed by 1 workers on processors" in first.stdout, first.stderr
    assert first.stdout.count(" per second by ") == 4  # frames and latents of two splits
    assert again.stdout.splitlines()[1:] == []


def test_options_of_workers_need_a_cluster(tmp_path):
    command = ["data", "prepare", "align", "--data", tmp_path, "--workers", "2"]
    outcome = run_cli(*command)
    assert outcome.status == 2 and "expected --ray too" in outcome.stderr


def test_stored_sounds_equal_those_computed_locally(local_ray, fresh_data):
    local, remote = fresh_data("local"), fresh_data("remote")
    own = mono_sounds(Split.at(local, "train"), 16_000)
    computed = mono_sounds(Split.at(remote, "train"), 16_000, parallel_map=local_ray.parallel_map)
    assert own.shape[1] == 16_000 * SimulatedClips(local, "train").duration_s
    assert np.array_equal(own, computed) and np.abs(own).max() > 1000


def test_recipes_without_features_are_refused(tmp_path):
    outcome = run_cli("data", "prepare", "codec", "--data", tmp_path)
    assert outcome.status == 2 and "there is nothing to prepare" in outcome.stderr
