"""The test split as published: nothing is filtered, and it is exported as files."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import av
import numpy as np
import pytest
from support.cli_model import make_model, run_cli
from support.media_files import Sound, make_video, set_edits, video_packet_bytes
from support.published_split import ABSENT, COPY_OF_4, TEST, make_published_split
from support.small_vggsound import CLIP_S, SEGMENT_S, hum, painter, video_id

from foleyflow.data.build.check import check_data
from foleyflow.data.clips import open_split
from foleyflow.data.windows import WindowConfig, WindowSource
from foleyflow.errors import MediaError
from foleyflow.features.codec_latents import clip_arrays
from foleyflow.features.frames import cache_frames
from foleyflow.media.probe import probe
from foleyflow.media.silent_copy import copy_without_sound
from foleyflow.media.waveform import read_waveform

PRESENT = [number for number in TEST if number not in ABSENT]


@pytest.fixture(scope="module")
def listing(tmp_path_factory):
    return make_published_split(tmp_path_factory.mktemp("published"))


def build_command(listing: tuple[Path, Path], out: Path) -> list[str]:
    command = ["data", "vggsound", *map(str, listing), "--out", str(out), "--workers", "1"]
    return [*command, "--duration", str(CLIP_S), "--segment", str(SEGMENT_S), "--validation", "0"]


@pytest.fixture(scope="module")
def built(listing, tmp_path_factory):
    """The data set, and the text that the command printed."""
    out = tmp_path_factory.mktemp("built") / "data"
    outcome = run_cli(*build_command(listing, out))
    assert outcome.status == 0, outcome.stderr
    return out, outcome.stdout


def listed(out: Path) -> dict[str, dict[str, str]]:
    """Rows of manifest.csv by key."""
    with (out / "manifest.csv").open(encoding="utf-8") as stream:
        return {row["key"]: row for row in csv.DictReader(stream)}


def key(number: int) -> str:
    return f"{video_id(number)}_{7 * number:06d}"


def test_only_clips_that_cannot_be_decoded_are_left_out(built):
    out, text = built
    rows = listed(out)
    for number in TEST:
        row, reason = rows[key(number)], ABSENT.get(number, "")
        assert row["reason"].startswith(reason) and bool(row["reason"]) == bool(reason), row
    assert rows[f"{COPY_OF_4}_000000"]["status"] == "kept"
    count = len(PRESENT) + 1
    assert f"{count} of {len(TEST) + 1} listed clips, {len(ABSENT)} left out" in text
    assert all(f"{key(number)}: {reason}" in text for number, reason in ABSENT.items())
    assert len(open_split(out, "test")) == count


def test_a_training_clip_that_repeats_a_test_clip_is_rejected(built):
    rows = listed(built[0])
    assert rows[key(3)]["reason"] == f"duplicate of {key(59)}"
    assert [rows[key(number)]["status"] for number in (0, 1, 2)] == ["kept"] * 3


def test_test_clips_have_their_published_length(built):
    clips = open_split(built[0], "test")
    assert clips.duration_s == SEGMENT_S
    assert open_split(built[0], "train").duration_s == CLIP_S
    lengths_s = {
        clips.entry(k)["video_id"]: clips.entry(k)["duration_s"] for k in range(len(clips))
    }
    for number in PRESENT:  # 53 has a short file, 54 a long one
        expected_s = 1.0 if number == 53 else SEGMENT_S
        assert lengths_s[video_id(number)] == pytest.approx(expected_s, abs=1e-3), number
    assert [check.problems for check in check_data(built[0])] == [(), ()]


def test_windows_after_the_end_of_a_short_clip_show_its_last_frame(built):
    cache = cache_frames(built[0], "test")
    assert cache.sounds.shape[1] == round(SEGMENT_S * 48_000)
    arrays = clip_arrays(cache)
    short = next(k for k, labels in enumerate(cache.labels) if labels.duration_s < 2)
    source = WindowSource(
        arrays,
        np.zeros((len(arrays), round(50 * SEGMENT_S), 2), np.float16),
        WindowConfig(segments=10, augment=False, neighbours=0),
    )
    window = source.cut(np.array([short]), np.array([source.spare]), None)
    assert window["times_s"].tolist() == [[0.0]] and window["present"].all()
    last = cache.clip_frames(short)[-1]
    np.testing.assert_array_equal(window["pixels"][0, 0].permute(1, 2, 0).numpy(), last)
    assert not window["sound"].any()


def test_filter_test_restores_the_filtered_split(listing, tmp_path):
    """Its settings are those of earlier data sets, which can be resumed with the flag alone."""
    command = build_command(listing, tmp_path / "data")
    outcome = run_cli(*command, "--filter-test", "--json")
    assert outcome.status == 0, outcome.stderr
    assert outcome.answer["splits"]["test"] == 3  # 4, 59, and 58 without a tagger
    manifest = json.loads((tmp_path / "data" / "manifest.json").read_text())
    assert "filter_test" not in manifest["settings"]["examine"]
    assert "split_durations_s" not in manifest
    refused = run_cli(*command)
    assert refused.status == 2 and "--filter-test" in refused.stderr
    assert run_cli(*command, "--filter-test").status == 0


def test_export_writes_silent_videos_and_exact_sounds(built, tmp_path):
    out = tmp_path / "out"
    command = ["data", "export", built[0], "--out", out, "--workers", "1", "--json"]
    outcome = run_cli(*command, "--with-sound")
    assert outcome.status == 0, outcome.stderr
    count = len(PRESENT) + 1
    assert (outcome.answer["clips"], outcome.answer["existed"]) == (count, 0)
    assert outcome.answer["not_in_data"] == len(ABSENT)
    clips = open_split(built[0], "test")
    with (out / "manifest.csv").open(encoding="utf-8") as stream:
        rows = {row["key"]: row for row in csv.DictReader(stream)}
    assert len(rows) == count
    for index in range(len(clips)):
        entry = clips.entry(index)
        row = rows[entry["id"].removeprefix("test/")]
        assert row["label"] == entry["kind"]
        # The true sound is that of the stored clip, exactly as long as the clip.
        sound = read_waveform(out / row["sound"])
        samples = round(entry["duration_s"] * 48_000)
        assert sound.rate_hz == 48_000 and sound.samples.shape[1] == samples
        with clips.files(index) as (video, _):
            true = read_waveform(video, rate_hz=48_000).samples[:, :samples]
            true = np.clip(true, -1, 1)  # AAC can decode to slightly more than full scale
            np.testing.assert_allclose(sound.samples[:, : true.shape[1]], true, atol=2**-22)
            # The silent video has the same packets, and no sound.
            assert video_packet_bytes(out / row["video"]) == video_packet_bytes(video)
        assert not probe(out / row["video"]).has_audio
        assert probe((out / row["sound"]).with_suffix(".mp4")).has_audio
    again = run_cli(*command, "--with-sound")
    assert again.answer["existed"] == count


def test_export_resumes_and_refuses_another_split(built, tmp_path):
    out = tmp_path / "out"
    command = ["data", "export", built[0], "--out", out, "--workers", "1", "--json"]
    assert run_cli(*command, "--split", "train").status == 0
    sounds = sorted((out / "reference").iterdir())
    before = sounds[1].stat().st_mtime_ns
    sounds[0].unlink()
    (out / ".draft-left").mkdir()
    outcome = run_cli(*command, "--split", "train")
    assert (outcome.answer["clips"], outcome.answer["existed"]) == (3, 2)
    assert sounds[0].exists() and sounds[1].stat().st_mtime_ns == before
    assert not list(out.glob(".draft-*"))
    refused = run_cli(*command)
    assert refused.status == 2 and "other clips" in refused.stderr
    other = tmp_path / "other"
    other.mkdir()
    (other / "notes.txt").touch()
    refused = run_cli("data", "export", built[0], "--out", other)
    assert refused.status == 2 and "other files" in refused.stderr


def test_clips_that_can_no_longer_be_decoded_are_named(built, tmp_path):
    """A damaged clip does not stop the export; the exit status is 1."""
    data = shutil.copytree(built[0], tmp_path / "data")
    shard = data / "test" / "shard-000000.tar"
    index = json.loads(shard.with_suffix(".json").read_text())["clips"][1]
    content = bytearray(shard.read_bytes())
    content[index["offset"] : index["offset"] + index["size"]] = bytes(index["size"])
    shard.write_bytes(content)
    outcome = run_cli("data", "export", data, "--out", tmp_path / "out", "--workers", "2", "--json")
    assert outcome.status == 1
    assert list(outcome.answer["problems"]) == [index["key"]]
    assert outcome.answer["clips"] == len(PRESENT)


def test_exported_simulated_clips_are_generated_and_evaluated(simulated_data, tmp_path):
    """The commands that `data export` prints, from a data set to scores."""
    out, results = tmp_path / "out", tmp_path / "results"
    exported = run_cli("data", "export", simulated_data, "--out", out, "--with-sound")
    assert exported.status == 0, exported.stderr
    videos = sorted((out / "videos").iterdir())
    assert [path.name for path in videos] == [f"clip_{k:06d}.mp4" for k in range(4)]
    clips = open_split(simulated_data, "test")
    for index, path in enumerate(videos):
        with clips.files(index) as (video, sound):
            assert video_packet_bytes(path) == video_packet_bytes(video)
            true = read_waveform(sound).samples
        written = read_waveform(out / "reference" / f"{path.stem}.wav").samples
        np.testing.assert_allclose(written[:, : true.shape[1]], true, atol=2**-22)
        muxed = out / "reference" / path.name
        assert video_packet_bytes(muxed) == video_packet_bytes(path) and probe(muxed).has_audio
    model = make_model(tmp_path / "model")
    generated = run_cli("generate", *videos, "--model", model, "-o", f"{results}/")
    assert generated.status == 0, generated.stderr
    scored = run_cli("evaluate", results, out / "reference", "--json")
    assert scored.status == 0, scored.stderr
    assert len(scored.answer["clips"]) == 4
    assert not scored.answer["only_generated"] and not scored.answer["only_reference"]


def test_a_copied_video_keeps_reordered_frames_and_hidden_starts(tmp_path):
    """B-frames, and an edit list that hides the start, as downloaders cut segments."""
    times_s = np.arange(48) / 24
    for name, settings in (("b.mp4", {"b_frames": 2}), ("cut.mp4", {"start_s": -0.5})):
        source = make_video(
            tmp_path / name,
            rate=24,
            n_frames=48,
            painter=painter(1, times_s),
            sound=Sound(samples=np.repeat(hum(1, 2.0), 3, axis=1), rate_hz=48_000),
            **settings,
        )
        target = tmp_path / f"silent-{name}"
        copy_without_sound(probe(source), target)
        before, after = decoded(source), decoded(target)
        assert len(before) == len(after) > 20
        assert [picture for _, picture in before] == [picture for _, picture in after]
        gaps = [[t - frames[0][0] for t, _ in frames] for frames in (before, after)]
        assert gaps[0] == pytest.approx(gaps[1], abs=2e-3)


def test_a_copied_video_keeps_a_hidden_end(tmp_path):
    """Segments that were cut without encoding may hide their last frames by an edit list."""
    times_s = np.arange(48) / 24
    path = make_video(tmp_path / "clip.mp4", rate=24, n_frames=48, painter=painter(1, times_s))
    source = set_edits(path, [(1.5, 0.0)])
    assert probe(source).duration_s == pytest.approx(1.5, abs=1e-3)
    copy_without_sound(probe(source), tmp_path / "silent.mp4")
    assert probe(tmp_path / "silent.mp4").duration_s == pytest.approx(1.5, abs=1e-3)
    assert decoded(tmp_path / "silent.mp4") == decoded(source)


def test_a_video_that_cannot_be_copied_is_encoded_again(tmp_path, caplog):
    """Its edit list leaves out frames between two stretches."""
    times_s = np.arange(48) / 24
    (tmp_path / "clips").mkdir()
    path = make_video(
        tmp_path / "clips" / "paused_000000.mp4",
        rate=24,
        n_frames=48,
        painter=painter(1, times_s),
        sound=Sound(samples=np.repeat(hum(1, 2.0), 3, axis=1), rate_hz=48_000),
    )
    set_edits(path, [(0.5, 0.0), (1.0, 1.0)])
    with pytest.raises(MediaError, match="can't be copied into mp4"):
        copy_without_sound(probe(path), tmp_path / "silent.mp4")
    duration_s = probe(path).duration_s
    (tmp_path / "list.csv").write_text("paused,0,thing,test\n")
    command = ["data", "vggsound", tmp_path / "list.csv", tmp_path / "clips"]
    command += ["--out", tmp_path / "data", "--segment", str(duration_s), "--duration", "1"]
    assert run_cli(*command).status == 0
    exported = run_cli("data", "export", tmp_path / "data", "--out", tmp_path / "out", "--json")
    assert exported.status == 0 and exported.answer["clips"] == 1
    video = tmp_path / "out" / "videos" / "paused_000000.mp4"
    assert len(decoded(video)) == len(decoded(path))
    assert "encoded again" in caplog.text


def decoded(path: Path) -> list[tuple[float, bytes]]:
    with av.open(str(path)) as container:
        return [
            (frame.time, frame.to_ndarray(format="rgb24").tobytes())
            for frame in container.decode(video=0)
        ]
