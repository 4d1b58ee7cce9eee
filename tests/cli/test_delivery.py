"""The options of `foleyflow generate` for the mix, sound formats, projects and loudness."""

import json
import math
from pathlib import Path

import av
import numpy as np
import pytest
import rpp
import soundfile
from support.cli_model import check_refusal, run_cli
from support.media_files import Sound, make_video, square_painter, video_packet_bytes
from wavinfo import WavInfoReader

from foleyflow.inference.delivery import Delivery
from foleyflow.inference.pipeline import FoleyFlow
from foleyflow.media import measure_report, read_waveform

RATE_HZ = 48_000
SECONDS = 4
CUES = [
    {"time_s": 1.0, "material": "wood", "level_db": -6.0},
    {"time_s": 2.0, "kind": "scrape", "end_s": 2.5, "material": "metal", "level_db": -12.0},
]


def tone(frequency_hz: float, level: float = 0.05) -> np.ndarray:
    """A steady tone as long as the clip, (n,) float32."""
    t = np.arange(SECONDS * RATE_HZ) / RATE_HZ
    return (level * np.sin(2 * np.pi * frequency_hz * t)).astype(np.float32)


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    """A clip with a stereo tone as its sound, and lossless sound in the copy."""
    return make_video(
        tmp_path_factory.mktemp("clip") / "clip.mkv",
        n_frames=25 * SECONDS,
        painter=square_painter(7),
        sound=Sound(samples=np.stack([tone(1000), tone(1000)]), codec="flac"),
    )


@pytest.fixture(scope="module")
def sheet(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("sheet") / "cues.json"
    content = {"format": "foleyflow cues", "version": 1, "cues": CUES}
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def generate(model, sheet):
    """Runs `generate` with the small model and the cues, which must succeed; returns the JSON."""

    def run(*arguments):
        outcome = run_cli("generate", *arguments, "--model", model, "--cues", sheet, "--json")
        assert outcome.status == 0, outcome.stderr
        return outcome.answer

    return run


def report_of(path: Path):
    sound = read_waveform(path)
    return measure_report([sound.samples], sound.rate_hz)


def amplitude(sound: np.ndarray, start_s: float, end_s: float, frequency_hz: float = 1000) -> float:
    """Amplitude of a tone in a stretch of a sound (n,)."""
    part = sound[round(start_s * RATE_HZ) : round(end_s * RATE_HZ)]
    t = np.arange(len(part)) / RATE_HZ
    return float(2 * abs(np.mean(part * np.exp(-2j * np.pi * frequency_hz * t))))


@pytest.mark.parametrize("mode", ["mix", "duck"])
def test_a_mix_has_both_sounds_and_the_target_loudness(generate, clip, tmp_path, mode):
    answer = generate(clip, "-o", tmp_path / "a.mkv", "--mix", mode, "--loudness", "-26")
    assert video_packet_bytes(tmp_path / "a.mkv") == video_packet_bytes(clip)
    with av.open(str(tmp_path / "a.mkv")) as container:
        assert container.streams.audio[0].codec_context.layout.nb_channels == 2
    report = report_of(tmp_path / "a.mkv")
    assert report.integrated_lufs == pytest.approx(-26, abs=0.5)
    assert answer["loudness"] == pytest.approx(report.to_json(), abs=0.02)
    assert answer["mix"] == mode
    sound = read_waveform(tmp_path / "a.mkv").samples[0]
    original = 0.05 * 10 ** (answer["original_gain_db"] / 20)
    assert amplitude(sound, 3.2, 3.9) == pytest.approx(original, rel=0.1)


def test_ducking_lowers_the_original_around_cues(generate, clip, tmp_path):
    quiet = ("--audio-only", "--loudness", "off", "--mix-level", "-40")
    answers = [
        generate(clip, "-o", tmp_path / f"{name}.wav", *quiet, *options)
        for name, options in {
            "mix": ("--mix", "mix"),
            "duck": ("--mix", "duck"),
            "deep": ("--mix", "duck", "--duck-depth", "20"),
        }.items()
    ]
    assert [answer["duck_depth_db"] for answer in answers] == [9.0, 9.0, 20.0]
    assert {answer["mix_level_lu"] for answer in answers} == {-40.0}
    mix, duck, deep = (
        read_waveform(tmp_path / f"{name}.wav").samples[0] for name in ("mix", "duck", "deep")
    )
    for sound, depth_db in ((duck, 9), (deep, 20)):
        change_db = 20 * math.log10(amplitude(sound, 2.05, 2.45) / amplitude(mix, 2.05, 2.45))
        assert change_db == pytest.approx(-depth_db, abs=0.5)
        assert amplitude(sound, 3.2, 3.9) == pytest.approx(amplitude(mix, 3.2, 3.9), rel=1e-3)


def test_the_mix_level_moves_the_generated_sound(generate, clip, tmp_path):
    gains = [
        generate(
            clip, "-o", tmp_path / f"{level}.wav", "--audio-only", "--mix", "mix",
            "--mix-level", level, "--loudness", "-30",
        )
        for level in ("0", "6", "off")
    ]  # fmt: skip
    first, second, kept = (
        answer["generated_gain_db"] - answer["original_gain_db"] for answer in gains
    )
    assert second - first == pytest.approx(6, abs=0.02)
    assert (kept, gains[2]["mix_level_lu"]) == (0.0, None)


def test_a_silent_video_has_a_warning_and_the_generated_sound(generate, tmp_path):
    video = make_video(tmp_path / "silent.mp4", n_frames=100, painter=square_painter(7))
    answer = generate(video, "-o", tmp_path / "a.wav", "--audio-only", "--mix", "duck")
    assert any("no sound to mix with" in text for text in answer["warnings"])
    generate(video, "-o", tmp_path / "b.wav", "--audio-only")
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()


def test_the_original_tracks_are_kept(generate, clip, tmp_path):
    generate(clip, "-o", tmp_path / "a.mkv", "--keep-original", "--mix", "mix")
    with av.open(str(tmp_path / "a.mkv")) as container:
        assert len(container.streams.audio) == 2
        frames = [frame.to_ndarray() for frame in container.decode(audio=1)]
    with av.open(str(clip)) as container:
        before = [frame.to_ndarray() for frame in container.decode(audio=0)]
    kept, original = (np.concatenate(arrays, axis=1) for arrays in (frames, before))
    assert kept.tobytes() == original.tobytes()


def test_a_container_for_one_track_is_refused(model, tmp_path):
    sound = Sound(samples=tone(1000)[None])
    video = make_video(tmp_path / "clip.mp4", n_frames=100, sound=sound)
    outcome = run_cli(
        "generate", video, "--model", model, "-o", tmp_path / "a.flv", "--keep-original"
    )
    assert "only one audio track in flv" in check_refusal(outcome)
    assert not (tmp_path / "a.flv").exists()


@pytest.mark.parametrize(
    ("name", "options", "subtype"),
    [
        ("a.wav", (), "PCM_24"),
        ("a.wav", ("--format", "wav16"), "PCM_16"),
        ("a.wav", ("--format", "wav24"), "PCM_24"),
        ("a.flac", (), "PCM_24"),
        ("a.bwf", (), "PCM_24"),
    ],
)
def test_formats_have_the_same_sound(generate, clip, tmp_path, name, options, subtype):
    generate(clip, "-o", tmp_path / "plain.wav", "--audio-only")
    answer = generate(clip, "-o", tmp_path / name, "--audio-only", *options)
    assert answer["sound_format"] == (options[1] if options else None)
    assert soundfile.info(tmp_path / name).subtype == subtype
    plain, _ = soundfile.read(tmp_path / "plain.wav")
    sound, rate_hz = soundfile.read(tmp_path / name)
    assert rate_hz == RATE_HZ and sound.shape == plain.shape
    assert np.abs(sound - plain).max() <= (2**-14 if subtype == "PCM_16" else 0.0)


def test_the_default_name_has_the_suffix_of_the_format(model, clip):
    outcome = run_cli(
        "generate", clip, "--model", model, "--audio-only", "--format", "flac", "--dry-run"
    )
    assert outcome.answer["plan"][0]["output"] == str(clip.with_name("clip.foley.flac"))
    assert outcome.answer["settings"]["sound_format"] == "flac"


def test_broadcast_wave_has_time_code_loudness_and_markers(generate, tmp_path):
    video = make_video(
        tmp_path / "clip.mov", n_frames=100, painter=square_painter(7),
        metadata={"timecode": "01:00:00:00"},
    )  # fmt: skip
    answer = generate(video, "-o", tmp_path / "a.wav", "--audio-only", "--format", "bwf")
    info = WavInfoReader(str(tmp_path / "a.wav"))
    assert info.bext.time_reference == 3600 * RATE_HZ
    assert info.bext.description == "Sound for clip.mov"
    assert info.bext.loudness_value == pytest.approx(answer["loudness"]["integrated_lufs"])
    assert info.bext.originator_date == "1970-01-01"
    assert [cue.position for cue in info.cues.cues] == [RATE_HZ, 2 * RATE_HZ]
    first = (tmp_path / "a.wav").read_bytes()
    generate(video, "-o", tmp_path / "a.wav", "--audio-only", "--format", "bwf", "--overwrite")
    assert (tmp_path / "a.wav").read_bytes() == first


def test_a_project_has_the_video_the_sound_and_the_cues(generate, clip, tmp_path):
    answer = generate(clip, "-o", tmp_path / "a.mkv", "--project", "reaper")
    project, sound = tmp_path / "a.rpp", tmp_path / "a.generated.wav"
    assert answer["project_files"] == [str(project), str(sound)]
    root = rpp.loads(project.read_text())
    files = [element[1] for element in root.iterfind("TRACK/ITEM/SOURCE/FILE")]
    assert [(tmp_path / name).resolve() for name in files] == [clip, sound]
    assert len(root.findall("MARKER")) == 3  # a hit, and both ends of a scrape
    generate(clip, "-o", tmp_path / "b.wav", "--audio-only")
    assert (tmp_path / "b.wav").read_bytes() == sound.read_bytes()


@pytest.mark.parametrize(("by", "first"), [("material", "wood"), ("cue", "001_wood_1.000s")])
def test_the_stems_of_a_project_play_the_generated_sound(generate, clip, tmp_path, by, first):
    options = ("--project", "reaper", "--stems", by, "--mix", "mix", "--loudness", "-30")
    answer = generate(clip, "-o", tmp_path / "a.mkv", *options)
    assert answer["project_files"] == [str(tmp_path / "a.rpp")]
    assert not (tmp_path / "a.generated.wav").exists()
    video, *tracks = rpp.loads((tmp_path / "a.rpp").read_text()).findall("TRACK")
    assert [track.find("NAME")[1] for track in tracks] == [each["name"] for each in answer["stems"]]
    assert tracks[0].find("NAME")[1] == first and len(tracks) == 2
    assert {float(track.find("VOLPAN")[1]) for track in (video, *tracks)} == {1.0}
    # Items placed as REAPER plays them
    total = np.zeros(SECONDS * RATE_HZ)
    for track in tracks:
        item = track.find("ITEM")
        samples, rate_hz = soundfile.read(tmp_path / item.find("SOURCE").find("FILE")[1])
        start, count = (float(item.find(name)[1]) * rate_hz for name in ("POSITION", "LENGTH"))
        assert rate_hz == RATE_HZ and len(samples) == round(count)
        total[round(start) : round(start) + len(samples)] += samples
    generate(clip, "-o", tmp_path / "b.wav", "--audio-only", "--loudness", "-30")
    sound, _ = soundfile.read(tmp_path / "b.wav")
    np.testing.assert_allclose(total, sound, rtol=0, atol=2.0**-23)


def test_a_silent_project_with_stems_has_only_the_video(model, clip, tmp_path):
    sheet = tmp_path / "none.json"
    sheet.write_text(json.dumps({"format": "foleyflow cues", "version": 1, "cues": []}))
    outcome = run_cli(
        "generate", clip, "--model", model, "--cues", sheet, "-o", tmp_path / "a.mkv",
        "--project", "reaper", "--stems", "cue", "--json",
    )  # fmt: skip
    assert outcome.status == 0 and outcome.answer["stems"] == []
    assert len(rpp.loads((tmp_path / "a.rpp").read_text()).findall("TRACK")) == 1


def test_project_files_are_not_replaced(model, clip, tmp_path):
    (tmp_path / "a.rpp").write_text("mine")
    outcome = run_cli(
        "generate", clip, "--model", model, "-o", tmp_path / "a.mkv", "--project", "reaper"
    )
    assert f"{tmp_path / 'a.rpp'}: already exists" in check_refusal(outcome)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.rpp"]


def test_two_videos_with_the_same_project_are_refused(model, clip, tmp_path):
    for suffix in (".mp4", ".mkv"):
        (tmp_path / f"clip{suffix}").write_bytes(clip.read_bytes())
    videos = (tmp_path / "clip.mp4", tmp_path / "clip.mkv")
    outcome = run_cli("generate", *videos, "--model", model, "--project", "reaper", "--overwrite")
    assert f"two videos would be written to {tmp_path / 'clip.foley.rpp'}" in check_refusal(outcome)
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--mix-level", "3"), "--mix-level 3 without a mix"),
        (("--mix", "mix", "--mix-level", "loud"), "--mix-level 'loud'"),
        (("--mix", "mix", "--mix-level", "nan"), "mix level nan LU"),
        (("--mix", "mix", "--duck-depth", "3"), "--duck-depth 3 with --mix mix"),
        (("--mix", "duck", "--duck-depth", "-1"), "duck depth -1 dB"),
        (("--keep-original", "--audio-only"), "--keep-original with --audio-only"),
        (("--format", "flac"), "--format flac without --audio-only"),
        (("--audio-only", "-o", "x.flac", "--format", "wav16"), "x.flac: expected a name"),
        (("--audio-only", "-o", "x.mp4"), "-o x.mp4: expected a name ending in"),
        (("-o", "x.flac"), "-o x.flac: expected a name ending in"),
    ],
)
def test_contradictions_are_refused(model, clip, options, message):
    outcome = run_cli("generate", clip, "--model", model, *options)
    assert message in check_refusal(outcome)


def test_the_sidecar_repeats_a_mix(generate, clip, tmp_path):
    options = ("--mix", "duck", "--mix-level", "3", "--duck-depth", "6", "--keep-original")
    generate(clip, "-o", tmp_path / "a.mkv", *options, "--sidecar")
    record = json.loads((tmp_path / "a.mkv.json").read_text())
    assert record["loudness"]["integrated_lufs"] == pytest.approx(-23, abs=0.5)
    generate(
        clip, "-o", tmp_path / "b.mkv", "--mix", record["mix"],
        "--mix-level", record["mix_level_lu"], "--duck-depth", record["duck_depth_db"],
        "--keep-original" if record["keep_original"] else "--json",
    )  # fmt: skip
    first, again = (read_waveform(tmp_path / f"{name}.mkv").samples for name in "ab")
    assert first.tobytes() == again.tobytes()


def test_a_mix_in_python(model, clip, tmp_path):
    result = FoleyFlow.from_pretrained(model, device="cpu").generate(clip, loudness_lufs=-28.0)
    result.save(tmp_path / "a.flac", delivery=Delivery(mix="mix"))
    assert report_of(tmp_path / "a.flac").integrated_lufs == pytest.approx(-28, abs=0.5)
    assert result.delivered.loudness.integrated_lufs == pytest.approx(-28, abs=0.5)
