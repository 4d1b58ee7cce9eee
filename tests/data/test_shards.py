"""A small VGGSound from its csv to shards: rejections, resumption, and reading."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from support import killable_building
from support.cli_model import ROOT, process_environment
from support.killable_building import SETTINGS, build_small, rows_of
from support.media_files import Sound, grey_painter, make_video
from support.small_vggsound import (
    BROKEN,
    CLIP_S,
    GOOD,
    SEGMENT_S,
    hum,
    make_small_vggsound,
    painter,
    video_id,
)
from typer.testing import CliRunner

from foleyflow.cli.app import app
from foleyflow.data.build import builder
from foleyflow.data.build.builder import BuildSettings, BuildSummary, build
from foleyflow.data.build.examination import (
    ExamineSettings,
    clear_lag_s,
    music_alone,
    scene_safe_start,
)
from foleyflow.data.build.listing import find_files, read_audioset, read_folder, read_vggsound
from foleyflow.data.clips import open_split
from foleyflow.errors import DataError
from foleyflow.features.frames import cache_frames
from foleyflow.media.probe import probe
from foleyflow.pretrained import EMBEDDED


@pytest.fixture(scope="module")
def listing(tmp_path_factory):
    return make_small_vggsound(tmp_path_factory.mktemp("vggsound"))


def build_folder(folder: Path, duration_s: float, *, avoid_cuts: bool = True) -> BuildSummary:
    """Build `folder / "out"` from the videos in `folder / "clips"`."""
    rows = read_folder(folder / "clips", duration_s=duration_s, validation=0.0)
    settings = BuildSettings(examine=ExamineSettings(duration_s=duration_s, avoid_cuts=avoid_cuts))
    return build(rows, folder / "clips", folder / "out", settings, workers=1)


@pytest.fixture(scope="module")
def built(listing, tmp_path_factory):
    out = tmp_path_factory.mktemp("built")
    return out, build_small(*listing[:2], out)


def contents(out: Path) -> dict[str, str]:
    """Hashes of all files of a finished data set."""
    return {
        path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file() and not path.relative_to(out).parts[0].startswith(".")
    }


def test_exactly_the_broken_clips_are_rejected_with_their_reasons(built):
    out, summary = built
    with (out / "manifest.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 60
    for number, row in enumerate(rows):
        assert row["video_id"] == video_id(number)
        expected = BROKEN.get(number, "")
        assert row["reason"].startswith(expected) and bool(row["reason"]) == bool(expected), row
        assert row["status"] == ("rejected" if expected else "kept")
    assert rows[59]["reason"] == f"duplicate of {rows[3]['key']}"
    assert sum(summary.splits.values()) == GOOD
    assert sum(summary.rejected.values()) == len(BROKEN)
    assert all(summary.splits[split] > 0 for split in ("train", "validation", "test"))


class Stopped(Exception):
    """Raised by a test to stop a build."""


def stop_after(count: int):
    def progress(done: int, total: int) -> None:
        if done >= count:
            raise Stopped

    return progress


def test_a_stopped_and_rerun_build_gives_the_same_shards(built, listing, tmp_path, monkeypatch):
    """Stopped after some clips, after some shards, with half-written files left behind."""
    monkeypatch.setattr(builder, "BLOCK_CLIPS", 16)
    examined = []
    examine = builder.examine_clip
    monkeypatch.setattr(
        builder,
        "examine_clip",
        lambda row, *args, **kwargs: examined.append(row.key) or examine(row, *args, **kwargs),
    )

    with pytest.raises(Stopped):
        build_small(*listing[:2], tmp_path, examining=stop_after(17))
    assert not (tmp_path / "manifest.json").exists()
    (next(tmp_path.glob(".examined-*")) / "000002.json.part").write_text("[{")
    with pytest.raises(Stopped):
        build_small(*listing[:2], tmp_path, packing=stop_after(2))
    assert len(list(tmp_path.glob("*/shard-*.tar"))) < 7
    (tmp_path / "train" / "shard-000003.tar.part").write_bytes(b"half")
    before = next(iter(sorted(tmp_path.glob("train/shard-*.tar")))).stat().st_mtime_ns
    build_small(*listing[:2], tmp_path)
    assert next(iter(sorted(tmp_path.glob("train/shard-*.tar")))).stat().st_mtime_ns == before
    assert contents(tmp_path) == contents(built[0])
    # Clips that were examined before the stop were not examined again.
    assert len(examined) == 60


def test_a_killed_and_rerun_build_gives_the_same_shards(built, listing, tmp_path):
    for stage, count in (("examining", 1), ("packing", 3)):
        command = [sys.executable, killable_building.__file__, *map(str, listing[:2])]
        command += [str(tmp_path), stage, str(count)]
        paths = f"{ROOT}{os.pathsep}{ROOT / 'tests'}"
        environment = process_environment({"PYTHONPATH": paths})
        killed = subprocess.run(command, env=environment, timeout=300)
        assert killed.returncode == -signal.SIGKILL
        assert not (tmp_path / "manifest.json").exists()
    build_small(*listing[:2], tmp_path)
    assert contents(tmp_path) == contents(built[0])


def test_shards_are_webdataset_tars_of_complete_clips(built):
    out, summary = built
    count = 0
    for path in sorted(out.glob("*/shard-*.tar")):
        with tarfile.open(path) as tar:
            names = tar.getnames()
            members = {member.name: tar.extractfile(member).read() for member in tar}
        assert names[0::2] == [name.replace(".json", ".mp4") for name in names[1::2]]
        for name in names[1::2]:
            labels = json.loads(members[name])
            assert labels["duration_s"] == CLIP_S and labels["kind"].startswith("thing number")
            video = path.parent / "clip.mp4"
            video.write_bytes(members[name.replace(".json", ".mp4")])
            info = probe(video)
            video.unlink()
            assert info.has_audio and info.duration_s == pytest.approx(CLIP_S, abs=0.1)
            count += 1
    assert count == GOOD and summary.shards == len(list(out.glob("*/shard-*.tar")))


def test_shards_are_read_like_simulated_clips(built, listing):
    """A decoded clip has the frames and the sound of its source, at the same time."""
    clips = open_split(built[0], "train")
    cache = cache_frames(built[0], "train")
    assert len(cache) == len(clips) and cache.rate_hz == 48_000
    assert cache.sounds.shape == (len(clips), round(CLIP_S * 48_000))
    index = next(k for k in range(len(clips)) if clips.entry(k)["video_id"] == video_id(2))
    clip = clips.load(index)
    assert np.array_equal(cache.clip_frames(index), clip.frames.pixels)
    assert clip.frames.times_s[0] == 0.0
    assert np.diff(clip.frames.times_s) == pytest.approx(1 / 12, abs=1e-3)
    true = np.repeat(hum(2, SEGMENT_S)[0], 3)[: len(clip.waveform.samples[0])]
    power = np.abs(np.fft.rfft([clip.waveform.samples[0], true])) ** 2
    assert power[0].argmax() == power[1].argmax()
    level = 20 * np.log10(np.std(clip.waveform.samples) / np.std(true))
    assert abs(level) < 1.0


def test_the_motion_encoder_trains_on_shards_without_labels(listing, tmp_path):
    """`train align` on real clips is refused if it needs labels, and works otherwise."""
    good = rows_of(listing[0])[:GOOD]
    few = [row for row in good if row.split == "train"][:3]
    few += [row for row in good if row.split == "validation"][:2]
    data = tmp_path / "data"
    build(few, listing[1], data, SETTINGS, workers=1)
    command = ["train", "align", "--recipe", "smoke", "--data", str(data), "--device", "cpu"]
    command += ["--set", f"codec={EMBEDDED}", "--out", str(tmp_path / "run")]
    refused = CliRunner().invoke(app, command)
    assert refused.exit_code == 2 and "no labels" in refused.output
    command += ["--set", "losses.onset_from=sound", "--set", "losses.material=0"]
    done = CliRunner().invoke(app, [*command, "--set", "train.steps=2"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert (tmp_path / "run" / "model" / "align.safetensors").exists()


def test_a_file_that_meets_the_requirements_is_copied(tmp_path):
    """Of two h264 clips of the right length, the mp4 is copied and the mkv is re-encoded."""
    (tmp_path / "clips").mkdir()
    sound = Sound(samples=np.repeat(hum(1, CLIP_S), 3, axis=1), rate_hz=48_000)
    times_s = np.arange(38) / 12
    for name, seed in (("one.mp4", 1), ("two.mkv", 2)):
        make_video(
            tmp_path / "clips" / name,
            rate=12,
            n_frames=38,
            painter=painter(seed, times_s),
            sound=sound,
        )
    build_folder(tmp_path, CLIP_S - 0.03)
    clips = open_split(tmp_path / "out", "train")
    assert [clips.entry(k)["encoded_anew"] for k in range(2)] == [False, True]
    assert clips.content(0) == (tmp_path / "clips" / "one.mp4").read_bytes()


def test_the_command_line_builds_checks_and_refuses(listing, tmp_path):
    """`data vggsound` on a few rows; `data doctor` on the result before and after damage."""
    few = tmp_path / "few.csv"
    lines = listing[0].read_text(encoding="utf-8").splitlines()
    few.write_text("\n".join(lines[k] for k in (0, 3, 4, 48, 59)) + "\n", encoding="utf-8")
    out = tmp_path / "out"
    command = ["data", "vggsound", str(few), str(listing[1]), "--out", str(out), "--json"]
    command += ["--duration", str(CLIP_S), "--segment", str(SEGMENT_S), "--validation", "0"]
    done = CliRunner().invoke(app, [*command, "--workers", "1"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    summary = json.loads(done.stdout)
    assert summary["splits"] == {"train": 2, "validation": 0, "test": 1}
    assert summary["rejected"] == {"no sound": 1, "duplicate": 1}
    checked = CliRunner().invoke(app, ["data", "doctor", str(out), "--json"])
    assert checked.exit_code == 0, checked.output
    assert [split["decoded"] for split in json.loads(checked.stdout)["splits"]] == [2, 1]
    other = CliRunner().invoke(app, [*command, "--cuts", "keep"])
    assert other.exit_code == 2 and "other settings" in other.output
    shard = out / "train" / "shard-000000.tar"
    shard.write_bytes(shard.read_bytes()[:-512])
    checked = CliRunner().invoke(app, ["data", "doctor", str(out)])
    assert checked.exit_code == 1 and "another size" in checked.stdout
    refused = CliRunner().invoke(app, [*command[:-2], "0", "--cuts", "some"])
    assert refused.exit_code == 2


def test_audioset_lists_have_comments_and_several_labels(tmp_path):
    path = tmp_path / "eval.csv"
    path.write_text(
        "# Segments csv created\n# YTID, start_seconds, end_seconds, positive_labels\n"
        '--4gqARaEJE, 0.000, 10.000, "/m/068hy,/m/07q6cd_,/m/0bt9lr,/m/0jbk"\n',
        encoding="utf-8",
    )
    (row,) = read_audioset(path, split="test")
    assert (row.video_id, row.start_s, row.end_s, row.split) == ("--4gqARaEJE", 0.0, 10.0, "test")
    assert row.label == "/m/068hy,/m/07q6cd_,/m/0bt9lr,/m/0jbk"
    assert row.key == "--4gqARaEJE_0_10000"


def test_cut_out_files_and_full_videos_are_found(tmp_path):
    listing = tmp_path / "vggsound.csv"
    listing.write_text('a,30,"dog barking, loud",train\nb,5,rain,train\nc,1,wind,test\n')
    rows = read_vggsound(listing)
    assert rows[0].label == "dog barking, loud"
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a_000030.mp4").touch()
    (tmp_path / "b.webm").touch()
    one, two, three = find_files(tmp_path, rows)
    assert one is not None and one.cut_out and one.start_s == 0.0
    assert two is not None and not two.cut_out and two.start_s == 5.0
    assert three is None


@pytest.mark.parametrize(
    ("text", "match"),
    [("a,30,dog\n", "line 1"), ("a,x,dog,train\n", "'x' is no number"), ("", "lists no clip")],
)
def test_a_list_of_another_form_is_refused_with_the_line_number(tmp_path, text, match):
    path = tmp_path / "vggsound.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=match):
        read_vggsound(path)


def test_a_scene_safe_stretch_lies_between_cuts():
    assert scene_safe_start((), 30.0, 40.0, 8.0, slack_s=0.1) == 30.0
    assert scene_safe_start((31.0,), 30.0, 40.0, 8.0, slack_s=0.1) == 31.0
    assert scene_safe_start((33.0,), 30.0, 40.0, 8.0, slack_s=0.1) is None
    assert scene_safe_start((38.5,), 30.0, 40.0, 8.0, slack_s=0.1) == 30.0


def test_a_lag_is_found_with_its_sign_only_where_it_is_clear():
    times_s = np.arange(1, 200) / 25
    rng = np.random.default_rng(2)
    events_s = np.sort(rng.uniform(0.5, 7.0, 9))
    change = np.full(199, 0.2)
    change[np.round(events_s * 25).astype(int)] = 9.0

    def sound(lag_s: float) -> np.ndarray:
        samples = 0.001 * rng.standard_normal(8 * 16_000)
        for event_s in events_s + lag_s:
            start = round(event_s * 16_000)
            samples[start : start + 600] += 0.5 * rng.standard_normal(600)
        return samples.astype(np.float32)

    assert clear_lag_s(times_s, change, sound(0.6)) == pytest.approx(0.6, abs=0.08)
    assert clear_lag_s(times_s, change, sound(-0.4)) == pytest.approx(-0.4, abs=0.08)
    assert abs(clear_lag_s(times_s, change, sound(0.0)) or 0.0) <= 0.08
    assert clear_lag_s(times_s, change, hum(4, 8.0)[0]) is None


def test_music_with_another_class_is_not_music_alone():
    probabilities = np.zeros(527)
    probabilities[137] = 0.9
    assert music_alone(probabilities) == pytest.approx(0.9)
    probabilities[72] = 0.8  # an animal
    assert music_alone(probabilities) == pytest.approx(0.18)
    probabilities[72], probabilities[140] = 0.0, 0.9  # a guitar
    assert music_alone(probabilities) == pytest.approx(0.09)


def test_frames_without_detail_are_not_duplicates(tmp_path):
    """Two plain flickering clips have no detail to compare."""
    (tmp_path / "clips").mkdir()
    for name, number in (("a.mp4", 1), ("b.mp4", 2)):
        make_video(
            tmp_path / "clips" / name,
            rate=12,
            n_frames=30,
            painter=grey_painter(96, 64),
            sound=Sound(samples=hum(number, 2.5), rate_hz=16_000),
        )
    summary = build_folder(tmp_path, 2.0, avoid_cuts=False)
    assert summary.splits["train"] == 2


def test_data_list_prints_the_clips_of_a_category(tmp_path):
    (tmp_path / "manifest.csv").write_text(
        "name,category,clear_onsets\n"
        "a.mp4,drums_percussion,yes\nb.mp4,drums_percussion,no\nc.mp4,rain,yes\n"
    )

    def listed(*options: str) -> list[str]:
        result = CliRunner().invoke(app, ["data", "list", str(tmp_path), *options])
        assert result.exit_code == 0, result.output
        return [Path(line).name for line in result.stdout.splitlines()]

    assert listed() == ["a.mp4"]
    assert listed("--all") == ["a.mp4", "b.mp4"]
    assert listed("--category", "rain") == ["c.mp4"]
    (tmp_path / "manifest.csv").write_text("name,category\na.mp4,drums_percussion\n")
    result = CliRunner().invoke(app, ["data", "list", str(tmp_path)])
    assert result.exit_code == 2 and "no column 'clear_onsets'" in result.output


def test_the_lag_of_a_recording_is_removed_from_its_clips(tmp_path):
    clicks_s = (1.0, 3.0, 5.0)
    (tmp_path / "clips").mkdir()
    for number, (name, lag_s) in enumerate((("late", 0.1), ("early", -0.1), ("right", 0.0))):
        samples = np.full((1, 6 * 48_000), 0.01, np.float32)  # silence would end in a rise
        for time_s in clicks_s:
            samples[0, round((time_s + lag_s) * 48_000)] = 0.9
        make_video(
            tmp_path / "clips" / f"{name}.mp4",
            n_frames=150,
            painter=painter(number, np.arange(150) / 25),
            sound=Sound(samples=samples),
        )
    rows = read_folder(tmp_path / "clips", duration_s=2.0, validation=0.0)
    settings = BuildSettings(examine=ExamineSettings(duration_s=2.0))
    lags_s = {"late": 0.1, "early": -0.1}
    for _ in range(2):  # the same command keeps the shards
        build(rows, tmp_path / "clips", tmp_path / "out", settings, lags_s=lags_s, workers=1)
    clips = open_split(tmp_path / "out", "train")
    assert len(clips) == 9
    for index in range(9):
        sound = clips.load_sound(index)
        loudest_s = np.abs(sound.samples[0]).argmax() / sound.rate_hz
        assert loudest_s == pytest.approx(1.0, abs=0.005), clips.entry(index)
        assert np.abs(sound.samples[0, :4800]).max() < 0.1  # mirrored before the start
        lag_s = lags_s.get(clips.entry(index)["video_id"])
        assert clips.entry(index).get("removed_lag_s") == lag_s
