"""`foleyflow generate` on real files: the effect of every flag, and the files that it writes."""

import hashlib
import json
import re
import wave
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from support.cli_model import make_model, run_cli, run_process
from support.media_files import Sound, impulses, make_video, square_painter, video_packet_bytes

from foleyflow.cues.fields import cue_from_fields
from foleyflow.cues.sheet import CueSheet
from foleyflow.inference.event_files import write_event_files
from foleyflow.media import loudness_lufs
from foleyflow.signals import Waveform
from foleyflow.weights import file_sha256

DOCUMENTED_KEYS = (
    "video output duration_s sample_rate_hz seed steps model cues cue_file sensitivity "
    "timings_s peak_rss_mb warnings"
).split()
DOCUMENTED_TIMINGS = "decode encode align flow codec mux total".split()


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    return make_video(path, n_frames=50, painter=square_painter(7))


@pytest.fixture
def generate(model):
    """Runs `generate` with the small model, which must succeed; returns the JSON."""

    def run(*arguments):
        outcome = run_cli("generate", *arguments, "--model", model, "--json")
        assert outcome.status == 0, outcome.stderr
        return outcome.answer

    return run


def samples_of(path: Path) -> np.ndarray:
    """(n,) samples of a 24-bit mono WAV file, read without foleyflow."""
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 3, 48_000)
        data = np.frombuffer(file.readframes(file.getnframes()), np.uint8).reshape(-1, 3)
    wide = np.zeros((len(data), 4), np.uint8)
    wide[:, 1:] = data
    return wide.view("<i4")[:, 0] / 2.0**31


def audio_hash(path: Path) -> str:
    """Hash of the audio packets of a file."""
    digest = hashlib.sha256()
    with av.open(str(path)) as container:
        for packet in container.demux(container.streams.audio[0]):
            digest.update(bytes(packet))
    return digest.hexdigest()


@pytest.fixture(scope="module")
def plain(model, clip, tmp_path_factory):
    """The sound with default flags, (n,)."""
    path = tmp_path_factory.mktemp("plain") / "plain.wav"
    outcome = run_cli("generate", clip, "--model", model, "--audio-only", "-o", path)
    assert outcome.status == 0, outcome.stderr
    return samples_of(path)


def test_the_default_output_is_next_to_the_video(generate, clip, tmp_path):
    video = tmp_path / "my clip.mp4"
    video.write_bytes(clip.read_bytes())
    answer = generate(video)
    assert answer["output"] == str(tmp_path / "my clip.foley.mp4")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["my clip.foley.mp4", "my clip.mp4"]
    assert video_packet_bytes(Path(answer["output"])) == video_packet_bytes(video)
    with av.open(answer["output"]) as container:
        assert [stream.type for stream in container.streams] == ["video", "audio"]
        assert container.streams.audio[0].codec_context.name == "aac"


def test_the_default_is_mkv_if_the_format_can_only_be_read(generate, tmp_path):
    video = make_video(tmp_path / "clip.nut", n_frames=10)
    assert generate(video)["output"] == str(tmp_path / "clip.foley.mkv")


def test_output_files_and_folders(generate, clip, tmp_path):
    assert generate(clip, "-o", tmp_path / "named.mov")["output"] == str(tmp_path / "named.mov")
    assert (tmp_path / "named.mov").exists()
    answer = generate(clip, "-o", tmp_path)
    assert answer["output"] == str(tmp_path / "clip.foley.mp4")
    answer = generate(clip, "-o", f"{tmp_path}/new/deep/")
    assert answer["output"] == str(tmp_path / "new" / "deep" / "clip.foley.mp4")
    assert Path(answer["output"]).exists()


def test_json_contains_all_documented_keys(generate, clip, model, tmp_path):
    answer = generate(clip, "-o", tmp_path / "out.mp4", "--seed", "5", "--steps", "2")
    assert [key for key in DOCUMENTED_KEYS if key not in answer] == []
    assert sorted(answer["timings_s"]) == sorted(DOCUMENTED_TIMINGS)
    assert answer["duration_s"] == pytest.approx(2.0)
    assert (answer["sample_rate_hz"], answer["seed"], answer["steps"]) == (48_000, 5, 2)
    assert answer["model"] == str(model)
    assert all({"time_s", "kind", "enabled"} <= cue.keys() for cue in answer["cues"])
    assert answer["cues"] and answer["warnings"] == []
    assert (answer["sensitivity"], answer["cue_file"]) == (0.5, None)
    assert 50 < answer["peak_rss_mb"] < 8000


def test_equal_seeds_give_equal_bytes_and_different_seeds_do_not(generate, clip, tmp_path):
    for name, seed in (("a", "3"), ("b", "3"), ("c", "4")):
        generate(clip, "-o", tmp_path / f"{name}.wav", "--audio-only", "--seed", seed)
    first, again, other = ((tmp_path / f"{name}.wav").read_bytes() for name in "abc")
    assert first == again
    assert first != other


def test_the_number_of_threads_is_used_and_recorded(generate, clip, tmp_path):
    answer = generate(clip, "-o", tmp_path / "own.wav", "--audio-only")
    assert answer["threads"] == 1
    answer = generate(
        clip, "-o", tmp_path / "two.wav", "--audio-only", "--threads", "2", "--sidecar"
    )
    assert answer["threads"] == 2
    assert json.loads((tmp_path / "two.wav.json").read_text())["threads"] == 2


def test_equal_seeds_give_equal_audio_in_videos(generate, clip, tmp_path):
    for name in ("a.mp4", "b.mp4"):
        generate(clip, "-o", tmp_path / name)
    assert audio_hash(tmp_path / "a.mp4") == audio_hash(tmp_path / "b.mp4")


@pytest.mark.parametrize(
    "flags",
    [("--steps", "3"), ("--guidance", "3"), ("--material", "stone"), ("--seed", "1")],
    ids=lambda flags: flags[0],
)
def test_a_setting_changes_the_sound(generate, clip, plain, tmp_path, flags):
    answer = generate(clip, "-o", tmp_path / "a.wav", "--audio-only", *flags)
    key = flags[0].removeprefix("--")
    assert str(answer[key]).removesuffix(".0") == flags[1]
    other = samples_of(tmp_path / "a.wav")
    assert other.shape == plain.shape
    assert np.abs(other - plain).max() > 0.01 * np.abs(plain).max()


def test_two_materials_give_two_sounds(generate, clip, tmp_path):
    for material in ("metal", "wood"):
        generate(clip, "-o", tmp_path / f"{material}.wav", "--audio-only", "--material", material)
    metal, wood = (samples_of(tmp_path / f"{name}.wav") for name in ("metal", "wood"))
    assert np.abs(metal - wood).max() > 0.01 * np.abs(wood).max()


def test_another_model_gives_another_sound(clip, plain, tmp_path):
    other = make_model(tmp_path / "model", seed=1)
    outcome = run_cli("generate", clip, "--model", other, "--audio-only", "-o", tmp_path / "a.wav")
    assert outcome.status == 0
    assert np.abs(samples_of(tmp_path / "a.wav") - plain).max() > 0.01


def test_loudness_reaches_the_target_or_is_kept(generate, clip, tmp_path):
    levels = {}
    for wanted in ("-35", "-28.5", "off"):
        path = tmp_path / f"{wanted}.wav"
        answer = generate(clip, "-o", path, "--audio-only", "--loudness", wanted)
        assert answer["loudness_lufs"] == (None if wanted == "off" else float(wanted))
        sound = Waveform(samples=samples_of(path)[None].astype(np.float32), rate_hz=48_000)
        levels[wanted] = loudness_lufs(sound)
    assert levels["-35"] == pytest.approx(-35, abs=0.1)
    assert levels["-28.5"] == pytest.approx(-28.5, abs=0.1)
    assert abs(levels["off"] + 35) > 0.5 and abs(levels["off"] + 28.5) > 0.5


def test_audio_only_is_the_sound_of_the_video(generate, clip, plain, tmp_path):
    generate(clip, "-o", tmp_path / "lossless.mkv")
    with av.open(str(tmp_path / "lossless.mkv")) as container:
        stream = container.streams.audio[0]
        frames = [frame.to_ndarray() for frame in container.decode(stream)]
    decoded = np.concatenate(frames, axis=1)
    scale = 2.0**31 if decoded.dtype == np.int32 else 2.0**15
    assert decoded.shape[1] == len(plain) == 96_000
    assert np.abs(decoded[0] / scale - plain).max() < 2.0**-15


def test_an_output_is_replaced_only_with_overwrite(generate, model, clip, tmp_path):
    output = tmp_path / "a.mp4"
    generate(clip, "-o", output)
    before = output.read_bytes()
    outcome = run_cli("generate", clip, "-o", output, "--model", model, "--seed", "9")
    assert outcome.status == 2
    assert outcome.error_lines == [
        f"foleyflow: {output}: already exists",
        "  hint: use --overwrite to replace it",
    ]
    assert output.read_bytes() == before
    generate(clip, "-o", output, "--seed", "9", "--overwrite")
    assert output.read_bytes() != before


@pytest.mark.parametrize("suffix", [".cues.csv", ".cues.json", ".mid", ".report.png", ".json"])
def test_files_next_to_the_output_are_not_replaced(model, clip, tmp_path, suffix):
    output = tmp_path / "a.mp4"
    precious = tmp_path / f"a.mp4{suffix}"
    precious.write_text("mine")
    outcome = run_cli(
        "generate", clip, "-o", output, "--model", model, "--events", "--report", "--sidecar"
    )
    assert outcome.status == 2
    assert f"{precious}: already exists" in outcome.error_lines[0]
    assert precious.read_text() == "mine"
    assert not output.exists()


@pytest.fixture(scope="module")
def complete(model, tmp_path_factory):
    """All files next to the output, for a clip with sound: (folder, JSON)."""
    folder = tmp_path_factory.mktemp("complete")
    sound = Sound(samples=impulses(96_000, [24_000, 60_000]))
    video = make_video(folder / "clip.mp4", n_frames=50, painter=square_painter(7), sound=sound)
    outcome = run_cli(
        "generate", video, "--model", model, "--json", "-o", folder / "out.mp4",
        "--events", "--report", "--sidecar", "--seed", "11", "--guidance", "2", "--steps", "2",
        "--material", "glass", "--loudness", "-30",
    )  # fmt: skip
    assert outcome.status == 0, outcome.stderr
    return folder, outcome.answer


def test_the_report_is_a_picture(complete):
    folder, answer = complete
    path = folder / "out.mp4.report.png"
    assert answer["report"] == str(path)
    with av.open(str(path)) as container:
        picture = next(container.decode(video=0)).to_ndarray(format="rgb24")
    assert picture.shape == (1000, 1600, 3)
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 200


def test_event_files_contain_the_cues(complete, tmp_path):
    folder, answer = complete
    cues = tuple(cue_from_fields(fields, None) for fields in answer["cues"])
    assert len(cues) > 5 and {cue.material for cue in cues} == {"glass"}
    sheet = CueSheet(cues=cues, duration_s=answer["duration_s"])
    wanted = write_event_files(tmp_path / "out.mp4", sheet)
    assert answer["event_files"] == [str(folder / path.name) for path in wanted]
    for path in wanted:
        assert (folder / path.name).read_bytes() == path.read_bytes()


def test_the_sidecar_is_enough_to_regenerate_the_sound(complete, model):
    folder, answer = complete
    assert answer["sidecar"] == str(folder / "out.mp4.json")
    record = json.loads((folder / "out.mp4.json").read_text())
    assert record["weights_sha256"] == {
        name: file_sha256(model / f"{name}.safetensors") for name in ("codec", "align", "flow")
    }
    again = folder / "again.mp4"
    flags = [
        *("--seed", record["seed"], "--steps", record["steps"], "--guidance", record["guidance"]),
        *("--material", record["material"], "--loudness", record["loudness_lufs"]),
        *("--model", record["model"], "--audio-only" if record["audio_only"] else "--json"),
    ]
    outcome = run_cli("generate", record["video"], "-o", again, *(str(flag) for flag in flags))
    assert outcome.status == 0, outcome.stderr
    assert audio_hash(again) == audio_hash(folder / "out.mp4")
    assert outcome.answer["cues"] == record["cues"]


def test_only_the_output_is_written_by_default(generate, clip, tmp_path):
    generate(clip, "-o", tmp_path / "out.mp4")
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


def test_the_cpu_works_and_missing_devices_are_refused(generate, model, clip, tmp_path):
    generate(clip, "-o", tmp_path / "a.mp4", "--device", "cpu")
    absent = f"cuda:{torch.cuda.device_count()}"
    for device, message in (
        (absent, "CUDA device"),
        ("abacus", "expected auto, cpu, cuda or cuda:N"),
        ("meta", "expected auto, cpu, cuda or cuda:N"),
    ):
        output = tmp_path / "b.mp4"
        outcome = run_cli("generate", clip, "--model", model, "-o", output, "--device", device)
        assert outcome.status == 2
        assert message in outcome.error_lines[0] and len(outcome.error_lines) == 2
        assert not output.exists()


def test_dry_run_prints_the_plan_and_writes_nothing(clip, model, tmp_path):
    outcome = run_cli(
        "generate", clip, "--model", model, "-o", f"{tmp_path}/new/", "--dry-run", "--seed", "7"
    )
    assert outcome.status == 0
    assert outcome.answer["plan"] == [
        {"video": str(clip), "output": str(tmp_path / "new" / "clip.foley.mp4")}
    ]
    settings = outcome.answer["settings"]
    assert (settings["seed"], settings["model"], settings["steps"]) == (7, str(model), 1)
    assert list(tmp_path.iterdir()) == []


def test_the_text_output_lists_every_file(model, clip, tmp_path):
    outcome = run_cli("generate", clip, "--model", model, "-o", tmp_path / "a.mp4", "--sidecar")
    assert outcome.status == 0
    first, loudness, second, third = outcome.stdout.splitlines()
    assert re.match(rf"{re.escape(str(tmp_path / 'a.mp4'))}  \(2\.00 s, \d+ cues?, ", first)
    assert re.fullmatch(r"  loudness: -\d+\.\d LUFS, true peak -\d+\.\d dBTP", loudness)
    assert second.strip() == str(tmp_path / "a.mp4.json")
    assert third.startswith(f"  to change the cues: foleyflow spot {clip}, edit ")
    assert third.endswith(
        f"foleyflow generate {clip} --cues {clip.with_suffix('.cues.json')} --overwrite"
    )


def test_a_separate_process_prints_only_json(model, clip, tmp_path):
    outcome = run_process(
        "generate", clip, "--model", model, "-o", "out.wav", "--audio-only", "--json", cwd=tmp_path
    )
    assert (outcome.status, outcome.stderr) == (0, "")
    assert outcome.answer["output"] == "out.wav"
    assert [path.name for path in tmp_path.iterdir()] == ["out.wav"]


def test_debug_shows_the_traceback_of_an_error(model, tmp_path):
    (tmp_path / "empty.mp4").touch()
    arguments = ("generate", tmp_path / "empty.mp4", "--model", model)
    plainly = run_cli(*arguments)
    assert plainly.status == 2 and "Traceback" not in plainly.stderr
    debugged = run_cli(*arguments, "--debug")
    assert debugged.status == 2
    assert "Traceback" in debugged.stderr and "open_input" in debugged.stderr
    assert plainly.stderr in debugged.stderr


def test_streams_that_the_output_cannot_hold_are_warnings(generate, tmp_path):
    video = make_video(tmp_path / "clip.mkv", n_frames=25, subtitles=[(0.1, 0.5, "Knock")])
    answer = generate(video, "-o", tmp_path / "out.3gp")
    assert len(answer["warnings"]) == 1 and "subtitle" in answer["warnings"][0]


def test_long_videos_show_progress_on_stderr_only(model, tmp_path):
    video = make_video(tmp_path / "long.mp4", rate=2, n_frames=44)
    outcome = run_cli("generate", video, "--model", model, "--json", "--audio-only")
    assert outcome.status == 0
    assert outcome.answer["duration_s"] == pytest.approx(22.0)
    assert "long.mp4" in outcome.stderr
