"""`foleyflow generate` with several takes, ranges of earlier results, and stems, on real files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.cli_model import check_refusal, make_model, run_cli
from support.media_files import make_video, square_painter

from foleyflow.cli.takes import parse_range
from foleyflow.errors import ConfigError

RATE_HZ = 48_000
CUES = [
    {"time_s": 0.5, "material": "wood", "level_db": -6.0},
    {"time_s": 1.2, "material": "glass"},
    {"time_s": 1.9, "material": "wood", "enabled": False},
    {"time_s": 2.4, "kind": "scrape", "end_s": 3.1, "material": "metal"},
]


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    return make_video(path, n_frames=90, painter=square_painter(7))  # 3.6 s


@pytest.fixture(scope="module")
def sheet(clip):
    path = clip.with_name("cues.json")
    path.write_text(json.dumps({"format": "foleyflow cues", "version": 1, "cues": CUES}))
    return path


@pytest.fixture(scope="module")
def generate(model):
    """Runs `generate` with the small model, which must succeed; returns the JSON."""

    def run(*arguments, with_model=True):
        chosen = ("--model", model) if with_model else ()
        outcome = run_cli("generate", *arguments, *chosen, "--json")
        assert outcome.status == 0, outcome.stderr
        return outcome.answer

    return run


@pytest.fixture
def first(generate, clip, sheet, tmp_path):
    """A result with a sidecar."""
    output = tmp_path / "first.wav"
    generate(clip, "--audio-only", "-o", output, "--cues", sheet, "--seed", "3", "--sidecar")
    return output


def levels_of(path: Path) -> np.ndarray:
    """(n,) samples of a mono sound file with 24 bits, as integers."""
    samples, rate_hz = soundfile.read(path, dtype="int32")
    assert rate_hz == RATE_HZ and samples.ndim == 1 and not (samples & 0xFF).any()
    return samples >> 8


def changed(old: Path, new: Path) -> np.ndarray:
    """Times of the samples that differ, in seconds."""
    return np.flatnonzero(levels_of(old) != levels_of(new)) / RATE_HZ


def record_of(output: Path) -> dict:
    return json.loads(output.with_name(output.name + ".json").read_text())


# Takes


def test_takes_are_ranked_and_each_can_be_made_again(generate, clip, tmp_path):
    output = tmp_path / "clip.wav"
    answer = generate(
        clip, "--audio-only", "-o", output, "--candidates", "3", "--seed", "5", "--sidecar"
    )
    takes = answer["takes"]
    names = ["clip.wav", "clip.take2.wav", "clip.take3.wav"]
    assert [take["output"] for take in takes] == [str(tmp_path / name) for name in names]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [*names, *(f"{name}.json" for name in names)]
    )
    assert [take["rank"] for take in takes] == [1, 2, 3]
    assert sorted(take["seed"] for take in takes) == [5, 6, 7]
    scores = [take["score"] for take in takes]
    assert scores == sorted(scores, reverse=True)
    assert set(takes[0]["scores"]) == {"onsets", "levels", "synchrony"}
    assert answer["seed"] == takes[0]["seed"] and answer["output"] == str(output)
    for take in takes:
        record = record_of(Path(take["output"]))
        assert record["seed"] == take["seed"] and record["takes"] == takes
        again = tmp_path / f"again{take['seed']}.wav"
        generate(clip, "--audio-only", "-o", again, "--seed", take["seed"])
        assert again.read_bytes() == Path(take["output"]).read_bytes()


def test_takes_of_several_videos_and_existing_takes(generate, model, clip, tmp_path):
    videos = [tmp_path / "a.mp4", tmp_path / "b.mp4"]
    for video in videos:
        video.write_bytes(clip.read_bytes())
    (tmp_path / "b.foley.take2.mp4").write_text("mine")
    outcome = run_cli("generate", *videos, "--candidates", "2", "--model", model, "--json")
    assert outcome.status == 2
    assert [each["video"] for each in outcome.answer["results"]] == [str(videos[0])]
    assert "b.foley.take2.mp4: already exists" in outcome.answer["errors"][0]["error"]
    assert not (tmp_path / "b.foley.mp4").exists()
    assert (tmp_path / "a.foley.take2.mp4").exists()
    # A take may not be the output of another video
    other = tmp_path / "a.take2.mp4"
    other.write_bytes(clip.read_bytes())
    outcome = run_cli(
        "generate", videos[0], other, "--candidates", "2", "--model", model, "-o", f"{tmp_path}/x/"
    )
    assert outcome.status == 0  # a.foley.take2.mp4 and a.take2.foley.mp4
    inputs = [videos[0], tmp_path / "a.foley.take2.mp4"]
    outcome = run_cli("generate", *inputs, "--candidates", "2", "--model", model)
    assert "is an input and also the output of another input" in check_refusal(outcome)


@pytest.mark.filterwarnings("ignore")  # Ray emits deprecation warnings
def test_takes_stems_and_a_reference_on_ray(generate, model, clip, sheet, tmp_path):
    pytest.importorskip("ray", reason="needs the extra 'cluster' (ray)")
    video = tmp_path / "clip.mp4"
    video.write_bytes(clip.read_bytes())
    knock = tmp_path / "knock.wav"
    soundfile.write(knock, np.exp(-np.arange(9600) / 900) * np.sin(np.arange(9600) / 20), RATE_HZ)
    arguments = (
        "--candidates", "2", "--stems", "material", "--cues", sheet, "--audio-only",
        "--reference", knock,
    )  # fmt: skip
    outcome = run_cli("generate", video, *arguments, "--model", model, "--json", "--ray", "local")
    assert outcome.status == 0, outcome.stderr
    generate(video, *arguments, "-o", tmp_path / "here.wav")
    for name in ("{}.wav", "{}.take2.wav", "{}.stems/auto.wav"):
        there, here = (tmp_path / name.format(stem) for stem in ("clip.foley", "here"))
        assert there.read_bytes() == here.read_bytes()


# Ranges


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2:4.5", (2.0, 4.5)),
        ("0:0.5", (0.0, 0.5)),
        ("1:02.5:1:03", (62.5, 63.0)),
        ("00:00:02.000:01:00:04.500", (2.0, 3604.5)),
    ],
)
def test_ranges_are_seconds_or_clock_times(text, expected):
    assert parse_range(text) == expected


@pytest.mark.parametrize(
    "text", ["", "2", "2:", ":2", "4:2", "2:2", "1:2:3", "-1:2", "0:nan", "0:61:1:02", "a:b"]
)
def test_other_ranges_are_refused(text):
    with pytest.raises(ConfigError, match="--range"):
        parse_range(text)


def test_a_range_keeps_all_other_samples(generate, clip, first, tmp_path):
    before, new = first.read_bytes(), tmp_path / "new.wav"
    answer = generate(clip, "--of", first, "--range", "1:2.5", "-o", new, with_model=False)
    times_s = changed(first, new)
    assert 1.0 <= times_s.min() and times_s.max() < 2.5
    assert len(times_s) > 1.0 * RATE_HZ  # all that its cues let sound
    assert first.read_bytes() == before
    # The settings are those of the first result, the seed is the next one
    assert (answer["seed"], answer["cue_file"]) == (3, record_of(first)["cue_file"])
    assert answer["edits"] == [{"start_s": 1.0, "end_s": 2.5, "seed": 4, "cues_before": None}]
    assert answer["sidecar"] == f"{new}.json"
    assert answer["cues"] == record_of(first)["cues"]


def test_ranges_in_a_row_keep_each_other(generate, clip, first, tmp_path):
    start = levels_of(first)
    for text in ("0.5:1.5", "2:3", "1.2:2.2"):
        before = levels_of(first)
        generate(clip, "--of", first, "--range", text, "-o", first, "--overwrite", "--audio-only")
        times_s = np.flatnonzero(levels_of(first) != before) / RATE_HZ
        start_s, end_s = parse_range(text)
        assert start_s <= times_s.min() and times_s.max() < end_s
    assert [edit["seed"] for edit in record_of(first)["edits"]] == [4, 5, 6]
    assert (levels_of(first)[: RATE_HZ // 2] == start[: RATE_HZ // 2]).all()
    # The result with all its edits can be made again
    generate(clip, "--of", first, "-o", tmp_path / "again.wav")
    assert (tmp_path / "again.wav").read_bytes() == first.read_bytes()


def test_a_range_of_the_default_output_needs_overwrite(generate, model, clip, tmp_path):
    video = tmp_path / "clip.mp4"
    video.write_bytes(clip.read_bytes())
    options = ("--range", "1:2", "--seed", "9")
    refused = run_cli("generate", video, *options)
    assert "clip.foley.mp4: has no sidecar clip.foley.mp4.json" in check_refusal(refused)
    generate(video, "--sidecar")
    before = (tmp_path / "clip.foley.mp4").read_bytes()
    assert "already exists" in check_refusal(run_cli("generate", video, *options))
    assert (tmp_path / "clip.foley.mp4").read_bytes() == before
    answer = generate(video, *options, "--overwrite", with_model=False)
    assert (tmp_path / "clip.foley.mp4").read_bytes() != before
    assert answer["edits"][0]["seed"] == 9 and answer["model"] == str(model)


def test_a_range_takes_cues_that_differ_within_it(generate, clip, first, sheet, tmp_path):
    edited = [*CUES[:1], CUES[1] | {"material": "stone"}, *CUES[2:]]
    (tmp_path / "edited.json").write_text(
        json.dumps({"format": "foleyflow cues", "version": 1, "cues": edited})
    )
    cues = ("--cues", tmp_path / "edited.json")
    new, again = tmp_path / "new.wav", tmp_path / "again.wav"
    answer = generate(clip, "--of", first, "--range", "1:2", *cues, "-o", new)
    assert answer["cues"][1]["material"] == "stone"
    assert answer["edits"][0]["cues_before"][1]["material"] == "glass"
    same = tmp_path / "same.wav"
    generate(clip, "--of", first, "--range", "1:2", "-o", same)
    assert len(changed(same, new))
    generate(clip, "--of", new, "-o", again)
    assert again.read_bytes() == new.read_bytes()
    outcome = run_cli(
        "generate", clip, "--of", first, "--range", "0:1", *cues, "-o", tmp_path / "x.wav"
    )
    assert "the cues differ outside it (hit at 1.2 s)" in check_refusal(outcome)


def test_of_with_cues_generates_only_what_they_change(generate, clip, first, tmp_path):
    edited = tmp_path / "edited.json"
    edited.write_text(
        json.dumps({"format": "foleyflow cues", "version": 1, "cues": [*CUES[:1], *CUES[2:]]})
    )
    new, again = tmp_path / "new.wav", tmp_path / "again.wav"
    answer = generate(clip, "--of", first, "--cues", edited, "-o", new)
    times_s = changed(first, new)
    assert 1.15 <= times_s.min() and times_s.max() < 1.2 + 0.86
    assert answer["edits"][0]["start_s"] is None and len(answer["cues"]) == 3
    generate(clip, "--of", new, "-o", again)
    assert again.read_bytes() == new.read_bytes()


def test_another_format_of_an_earlier_result(generate, clip, first, tmp_path):
    """Without a range, --of makes the result again with other files."""
    answer = generate(
        clip, "--of", first, "-o", tmp_path / "video.mkv", "--events", "--stems", "cue"
    )
    samples, _ = soundfile.read(first)
    assert answer["warnings"] == [] and answer["edits"] == []
    assert len(answer["event_files"]) == 4 and len(answer["stems"]) == 3
    assert record_of(tmp_path / "video.mkv")["sound_sha256"] == record_of(first)["sound_sha256"]
    assert len(samples) == 3.6 * RATE_HZ


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--range", "1:9"), "range 1 s to 9 s: expected a start before the end, both within"),
        (("--range", "1:1.01"), "expected 0.05 s to 300 s of sound"),
        (("--range", "1"), "expected START:END"),
        (("--steps", "2"), "--steps with --of: it is a setting of the earlier result"),
        (("--loudness", "-20"), "--loudness with --of"),
        (("--candidates", "2"), "--candidates with --of"),
        (("--seed", "2"), "--seed with --of: the earlier result has its seed"),
    ],
)
def test_options_that_do_not_fit_an_earlier_result_are_refused(clip, first, options, message):
    new = first.with_name("new.wav")
    outcome = run_cli("generate", clip, "--of", first, *options, "-o", new)
    assert message in check_refusal(outcome)
    assert not new.exists()


def test_other_videos_weights_and_sidecars_are_refused(clip, first, model, tmp_path):
    new = tmp_path / "new.wav"

    def refusal(*arguments):
        line = check_refusal(run_cli("generate", *arguments, "--range", "1:2", "-o", new))
        assert not new.exists()
        return line

    other_model = make_model(tmp_path / "model", seed=1)
    line = refusal(clip, "--of", first, "--model", other_model)
    assert "first.wav: was generated with other weights (codec" in line
    longer = make_video(tmp_path / "longer.mp4", n_frames=100)
    assert "was generated for 3.600 s" in refusal(longer, "--of", first)
    two = run_cli("generate", clip, longer, "--of", first, "-o", f"{tmp_path}/x/")
    assert "--of with 2 videos" in check_refusal(two)
    # A video with other pictures gives other samples
    other = make_video(tmp_path / "other.mp4", n_frames=90, painter=square_painter(3))
    assert "its samples can't be made again exactly" in refusal(other, "--of", first)
    sidecar = first.with_name("first.wav.json")
    record = json.loads(sidecar.read_text())
    for content, message in (
        ("{", "damaged JSON"),
        ("[]", "is no sidecar of a result: model is missing"),
        (json.dumps(record | {"seed": "3"}), "seed is missing or not valid"),
        (json.dumps(record | {"cues": [{"time": 1}]}), "its cues are not valid"),
    ):
        sidecar.write_text(content)
        assert message in refusal(clip, "--of", first)


def test_a_repeated_result_with_other_samples_has_a_warning(generate, clip, first, tmp_path):
    sidecar = first.with_name("first.wav.json")
    record = json.loads(sidecar.read_text())
    sidecar.write_text(json.dumps(record | {"sound_sha256": "0" * 64, "threads": 7}))
    answer = generate(clip, "--of", first, "-o", tmp_path / "again.wav", "--threads", "1")
    assert answer["warnings"] == [
        "its samples can't be made again exactly on this machine (threads 1 instead of 7)"
    ]


# Stems


@pytest.mark.parametrize("by", ["material", "cue"])
def test_stems_add_up_to_the_sound(generate, clip, sheet, tmp_path, by):
    output = tmp_path / "clip.wav"
    answer = generate(clip, "--audio-only", "-o", output, "--cues", sheet, "--stems", by)
    names = {
        "material": ["wood", "glass", "metal"],
        "cue": ["001_wood_0.500s", "002_glass_1.200s", "004_metal_scrape_2.400s"],
    }[by]
    files = [tmp_path / "clip.stems" / f"{name}.wav" for name in names]
    assert [stem["file"] for stem in answer["stems"]] == [str(path) for path in files]
    assert sorted(path.name for path in (tmp_path / "clip.stems").iterdir()) == sorted(
        path.name for path in files
    )
    assert [stem["cues"] for stem in answer["stems"]] == [[0], [1], [3]]
    mix = levels_of(output)
    total = np.zeros(len(mix), np.int64)
    for stem in answer["stems"]:
        samples, start = levels_of(Path(stem["file"])), round(stem["start_s"] * RATE_HZ)
        assert len(samples) == round(stem["duration_s"] * RATE_HZ)
        assert time_reference(Path(stem["file"])) == start
        total[start : start + len(samples)] += samples
    np.testing.assert_array_equal(total, mix)
    # The sound is the same without stems
    generate(clip, "--audio-only", "-o", tmp_path / "plain.wav", "--cues", sheet)
    assert (tmp_path / "plain.wav").read_bytes() == output.read_bytes()


def time_reference(path: Path) -> int:
    """Samples since midnight in the chunk `bext` of a Broadcast Wave file."""
    data = path.read_bytes()
    start = data.index(b"bext") + 8
    return int.from_bytes(data[start + 338 : start + 346], "little")


def test_stems_are_replaced_only_with_overwrite(generate, model, clip, sheet, tmp_path):
    output, folder = tmp_path / "clip.mp4", tmp_path / "clip.stems"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    (folder / "old.wav").write_text("old")
    options = ("-o", output, "--cues", sheet, "--stems", "material")
    line = check_refusal(run_cli("generate", clip, *options, "--model", model))
    assert "clip.stems: already exists" in line and not output.exists()
    generate(clip, *options, "--overwrite")
    names = ["glass.wav", "metal.wav", "notes.txt", "wood.wav"]
    assert sorted(path.name for path in folder.iterdir()) == names
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.mp4", "clip.stems"]


def test_a_model_without_cues_has_no_stems(clip, tmp_path):
    model = make_model(tmp_path / "model", with_cue_tracks=False)
    output = tmp_path / "a.wav"
    outcome = run_cli(
        "generate", clip, "--model", model, "--stems", "cue", "--audio-only", "-o", output
    )
    assert "--stems cue: this model generates from the video alone" in check_refusal(outcome)
    assert not output.exists()
    # Takes and ranges work
    outcome = run_cli(
        "generate", clip, "--model", model, "--candidates", "2", "--audio-only", "-o", output,
        "--sidecar", "--json",
    )  # fmt: skip
    assert outcome.status == 0 and outcome.answer["takes"][0]["scores"]["onsets"] is None
    new = tmp_path / "b.wav"
    outcome = run_cli("generate", clip, "--of", output, "--range", "1:2", "-o", new)
    assert outcome.status == 0, outcome.stderr
    times_s = changed(output, new)
    assert 1.0 <= times_s.min() and times_s.max() < 2.0


def test_the_plan_names_all_files(clip, first, model, tmp_path):
    output = tmp_path / "x.wav"
    outcome = run_cli(
        "generate", clip, "--model", model, "--audio-only", "-o", output, "--candidates", "2",
        "--stems", "cue", "--sidecar", "--dry-run",
    )  # fmt: skip
    (plan,), settings = outcome.answer["plan"], outcome.answer["settings"]
    others = ("x.wav.json", "x.take2.wav", "x.take2.wav.json", "x.stems")
    assert plan["other_files"] == [str(tmp_path / name) for name in others]
    assert (settings["candidates"], settings["stems"], settings["of"]) == (2, "cue", None)
    outcome = run_cli(
        "generate", clip, "--of", first, "--range", "1:2", "--seed", "8", "-o", output, "--dry-run"
    )
    settings = outcome.answer["settings"]
    assert (settings["of"], settings["range_s"]) == (str(first), [1.0, 2.0])
    assert (settings["seed"], settings["range_seed"], settings["model"]) == (3, 8, str(model))
    assert not output.exists()
