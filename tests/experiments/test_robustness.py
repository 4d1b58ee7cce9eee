"""Mutants are reproducible, every verdict occurs, and no mutant makes the product fail."""

import dataclasses
import functools
import json
import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from support.cli_model import ROOT, run_cli
from support.muxed_copies import copy_packets

from foleyflow.errors import ConfigError, FoleyflowError
from foleyflow.experiments.robustness import report as measure
from foleyflow.experiments.robustness.cases import Case, Corpus, first_cases
from foleyflow.experiments.robustness.corpus import CONTAINERS, FRAME_COUNT, write_seed_clips
from foleyflow.experiments.robustness.mutations import _BLIND, _STRUCTURED, mutate
from foleyflow.experiments.robustness.playback import _digest, edited_sound_s, play
from foleyflow.experiments.robustness.runner import counts, run_cases
from foleyflow.experiments.robustness.structure import parts_of
from foleyflow.experiments.robustness.verdict import Run, compare_output, judge
from foleyflow.media import mux, probe, writer

SEED_CASES = [
    Case(container=name, number=number)
    for name, recipes in CONTAINERS.items()
    for number in range(len(recipes))
]


@pytest.fixture(autouse=True)
def unchecked_copies(monkeypatch):
    """Disable the product's own verification, which would refuse the wrong outputs made here."""
    monkeypatch.setattr(writer, "verify_copy", lambda *_, **__: [])
    monkeypatch.setattr(writer, "_LARGEST_LOSS_S", float("inf"))


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    return write_seed_clips(tmp_path_factory.mktemp("clips"))


@pytest.fixture(scope="module")
def corpus(clips):
    return Corpus(clips["mp4"][0].parent, seed=0)


@pytest.fixture
def run_with(monkeypatch):
    """Run cases with one of the commands of `robustness_products`."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(ROOT / "tests")]))

    def run(product, cases, **settings):
        named = [Case.named(name) for name in cases]
        return run_cases(named, product=f"support.robustness_products:{product}", **settings)

    return run


# Mutants


def test_seed_clips_cover_many_formats_and_can_be_played(clips):
    formats = {play(path, with_sound=False).container for paths in clips.values() for path in paths}
    assert len(formats) >= 6 and len(clips) >= 8
    for name, paths in clips.items():
        for path, recipe in zip(paths, CONTAINERS[name], strict=True):
            played = play(path, with_sound=True)
            assert len(played.frames) == (6 if recipe.is_trimmed else FRAME_COUNT), path
            assert len({frame.digest for frame in played.frames}) == len(played.frames)
            assert played.sound_tracks == (recipe.sound_codec is not None)
            assert played.subtitle_tracks == (recipe.subtitle_codec is not None)
            assert bool(played.orientation) == bool(recipe.rotation_deg)


def test_mutants_depend_on_seed_and_case_alone(corpus, tmp_path):
    write_seed_clips(tmp_path)
    again, other = (Corpus(tmp_path, seed=seed) for seed in (0, 1))
    cases = first_cases(80, list(CONTAINERS))[len(CONTAINERS) * 3 :]
    mutants = {case: corpus.mutant(case) for case in cases}
    assert {case: again.mutant(case) for case in reversed(cases)} == mutants
    assert all(other.mutant(case).data != mutants[case].data for case in cases)
    assert len({mutant.data for mutant in mutants.values()}) == len(cases)
    assert all(mutant.changes for mutant in mutants.values())


def test_first_cases_are_the_unchanged_seed_clips(corpus, clips):
    for case in SEED_CASES:
        mutant = corpus.mutant(case)
        path = clips[case.container][case.number]
        assert (mutant.data, mutant.changes) == (path.read_bytes(), ())
        assert mutant.suffix == path.suffix


def test_every_mutation_occurs(clips):
    rng = np.random.default_rng(0)
    data = clips["mkv"][0].read_bytes()
    applied = {
        change.partition(":")[0]
        for _ in range(150)
        for change in mutate(data, rng, donors=[clips["mp4"][0].read_bytes()])[1]
    }
    assert applied == {*_BLIND, *_STRUCTURED, "splice"}


@pytest.mark.parametrize("name", CONTAINERS)
def test_parts_are_found_in_every_container(clips, name):
    for path in clips[name]:
        data = path.read_bytes()
        parts = parts_of(data)
        assert len(parts) >= 8
        assert all(0 <= p.start < p.body <= p.end <= len(data) for p in parts)
        # The parts cover most of the file.
        assert sum(p.end - p.start for p in parts if p.is_leaf) > 0.9 * len(data)
        if name not in ("wmv", "mpg"):
            assert any(part.time for part in parts)
        # The size fields agree with the ends of the parts.
        if name in ("mp4", "fragmented", "mov"):
            for part in parts:
                at, width = part.size
                assert part.start + int.from_bytes(data[at : at + width], "big") == part.end


def test_parts_of_damaged_files_stay_inside_them(corpus):
    for case in first_cases(100, list(CONTAINERS)):
        data = corpus.mutant(case).data
        assert all(0 <= part.start <= part.end <= len(data) for part in parts_of(data))
    assert parts_of(b"Dear diary, nothing moved today.") == []


# Verdicts of a process


@pytest.mark.parametrize(
    ("product", "kind", "why"),
    [
        ("add_silence", "right", ""),
        ("refuse_everything", "refused", "no video is good enough"),
        ("raise_error", "traceback", "RuntimeError: a bug"),
        ("exit_with_one", "traceback", "exit 1"),
        ("kill_itself", "crash", "SIGSEGV"),
        ("copy_the_input", "wrong", "audio tracks, expected 1"),
        ("leave_a_file", "wrong", ".clip.part"),
        ("change_the_input", "wrong", "the input was changed"),
        ("print_an_extra_line", "wrong", "not one JSON object"),
        ("refuse_without_a_message", "wrong", "one line and at most one hint"),
    ],
)
def test_each_kind_of_result_is_recognised(run_with, product, kind, why):
    (result,) = run_with(product, ["mp4:2"])
    assert result.kind == kind
    assert why in result.why
    assert result.failed == (kind not in ("right", "refused"))


def test_hang_is_killed_and_the_next_case_runs(run_with):
    results = run_with("hang", ["mp4:2", "ts:7"], limit_s=0.3, workers=1)
    assert [result.kind for result in results] == ["hang", "hang"]
    assert "took longer than 0 s" in results[0].why
    assert results[0].changes == () and results[1].changes


def test_crash_affects_only_its_case_for_any_number_of_workers(run_with):
    names = ["mp4:0", "mov:0", "mov:1", "mp4:1"]
    for workers in (1, 3):
        results = run_with("kill_itself_once", names, workers=workers)
        assert [result.case for result in results] == names
        assert [result.kind for result in results] == ["crash", "right", "right", "crash"]
        assert "SIGABRT" in results[0].why and "Fatal Python error" in results[0].stderr


def test_files_of_failed_cases_are_kept(run_with, corpus, tmp_path):
    reported = []
    results = run_with("raise_error", ["mp4:9", "mkv:9"], keep=tmp_path, on_result=reported.append)
    assert sorted(reported, key=lambda r: r.case) == sorted(results, key=lambda r: r.case)
    kept = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert kept == {
        "mp4-9.mp4": corpus.mutant(Case.named("mp4:9")).data,
        "mkv-9.mkv": corpus.mutant(Case.named("mkv:9")).data,
    }
    assert counts(results)["all"]["traceback"] == 2
    assert counts(results)["mkv"] == dict.fromkeys(counts(results)["mkv"], 0) | {"traceback": 1}


def test_worker_that_cannot_start_is_an_error(run_with):
    with pytest.raises(FoleyflowError, match=r"can't be started: .*no_such_command"):
        run_with("no_such_command", ["mp4:0"])
    with pytest.raises(ValueError, match="workers=0"):
        run_with("add_silence", ["mp4:0"], workers=0)


# Verdicts of an output


@dataclasses.dataclass
class Copy:
    """An input and a correct output."""

    source: Path
    output: Path
    duration_s: float

    def problems(self, output=None, *, duration_s=None, warnings=""):
        """The differences of an output from the input, as one text."""
        problems = compare_output(
            play(self.source, with_sound=False),
            self.source,
            output or self.output,
            duration_s=duration_s or self.duration_s,
            warnings=warnings,
        )
        return "; ".join(problems)


def add_tone(source, output, *, delay_s=0.0, length_s=None, info=None, **settings):
    """Mux a tone with a video, as the product does."""
    info = info or probe(source)
    delayed = dataclasses.replace(info, start_s=info.start_s + delay_s)
    count = round((length_s or info.duration_s) * 48_000)
    tone = 0.1 * np.sin(np.arange(count) / 20, dtype=np.float32)[None]
    mux(source, output, [tone], rate_hz=48_000, n_samples=count, info=delayed, **settings)
    return info.duration_s


def correct_copy(source, folder):
    output = folder / f"out{source.suffix}"
    return Copy(source, output, add_tone(source, output))


@pytest.fixture(params=["mp4", "mkv", "ts"])
def correct(request, clips, tmp_path):
    return correct_copy(clips[request.param][0], tmp_path)


@pytest.mark.parametrize("case", SEED_CASES, ids=lambda case: case.name)
def test_correct_outputs_of_all_seed_clips_are_accepted(clips, tmp_path, case):
    assert correct_copy(clips[case.container][case.number], tmp_path).problems() == ""


def lose_the_last(number, packet):
    return None if number == FRAME_COUNT - 1 else packet


def alter_one_frame(number, packet):
    if number != 5:
        return packet
    data = bytearray(bytes(packet))
    data[-20] ^= 0x10
    other = av.Packet(bytes(data))
    other.pts, other.dts, other.duration = packet.pts, packet.dts, packet.duration
    other.time_base, other.is_keyframe = packet.time_base, packet.is_keyframe
    return other


def delay_the_second_half(number, packet):
    if number >= 6:
        packet.pts += round(Fraction(1, 100) / packet.time_base)
        packet.dts += round(Fraction(1, 100) / packet.time_base)
    return packet


@pytest.mark.parametrize(
    ("change", "first", "second"),
    [
        (lose_the_last, "12 video packets became 11", "12 shown frames became 11"),
        (alter_one_frame, "1 of them are missing or changed", "have other pixels"),
        (delay_the_second_half, "are shown at another time", "+0.0100 s"),
    ],
)
def test_changed_frames_are_wrong(correct, tmp_path, change, first, second):
    suffix = correct.source.suffix
    changed = copy_packets(correct.source, tmp_path / f"a{suffix}", change=change)
    bad = tmp_path / f"b{suffix}"
    add_tone(changed, bad, info=dataclasses.replace(probe(correct.source), path=changed))
    text = correct.problems(bad)
    assert first in text and second in text
    # A warning about the times of other frames does not excuse these.
    warning = "2 frames with missing or backward time stamps were left out"
    assert first in correct.problems(bad, warnings=warning)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"length_s": 0.3}, "the sound lasts 0.3"),
        ({"delay_s": 0.15}, "before the first frame"),
        ({"keep_original": True}, "2 audio tracks, expected 1"),
    ],
)
def test_wrong_sound_is_wrong(correct, tmp_path, settings, text):
    bad = tmp_path / f"bad{correct.source.suffix}"
    add_tone(correct.source, bad, **settings)
    assert text in correct.problems(bad)


def test_reported_duration_unlike_the_video_is_wrong(correct, tmp_path):
    bad = tmp_path / f"bad{correct.source.suffix}"
    add_tone(correct.source, bad, length_s=0.9)
    assert "the video 0.4400 to" in correct.problems(bad, duration_s=0.9)


def test_losses_must_be_named_by_warnings(clips, tmp_path):
    source, output = clips["mkv"][1], tmp_path / "out.mkv"
    duration_s = add_tone(source, output)
    before = dataclasses.replace(
        play(source, with_sound=False),
        orientation=(0, 1, -1, 0),
        chapters=2,
        subtitle_tracks=1,
        pixel_aspect=1.42,
    )

    def problems(warnings):
        return compare_output(before, source, output, duration_s=duration_s, warnings=warnings)

    assert problems("") == [
        "rotation (0, 1, -1, 0) became ()",
        "pixel aspect 1.42 became 1",
        "2 chapters became 0",
        "1 subtitle tracks became 0, 0 named in warnings",
    ]
    losses = [
        "the rotation is lost",
        "the pixel aspect is lost",
        "the chapters are lost",
        "subtitle track 2 (mov_text) was left out",
    ]
    assert problems("\n".join(losses)) == []
    for unnamed in losses:
        assert len(problems("\n".join(text for text in losses if text != unnamed))) == 1
    # A warning of more than the actual loss excuses nothing.
    assert problems("\n".join([*losses, "subtitle track 3 was left out"])) != []


def test_transport_packet_may_get_its_parameter_sets_again(clips, tmp_path):
    source, output = clips["ts"][0], tmp_path / "out.ts"
    duration_s = add_tone(source, output)
    before = play(source, with_sound=False)
    first = before.packets[0]
    assert first.startswith(bytes.fromhex("0000000109"))

    def problems(packet):
        other = dataclasses.replace(before, packets=(packet, *before.packets[1:]))
        return compare_output(other, source, output, duration_s=duration_s, warnings="")

    assert problems(first[:6] + first[-900:]) == []  # the muxer added the rest
    assert "missing or changed" in problems(first[:6] + first[-900:-1])[0]


def test_hidden_frames_that_are_shown_must_be_named(clips, tmp_path):
    source, output = clips["mp4"][1], tmp_path / "out.mp4"
    data = source.read_bytes()
    without_edits = tmp_path / "all.mp4"
    without_edits.write_bytes(data.replace(b"elst", b"free"))
    add_tone(without_edits, output, info=dataclasses.replace(probe(source), path=without_edits))
    copy = Copy(source, output, probe(source).duration_s)
    assert "6 shown frames became 12" in copy.problems()
    warning = "6 hidden frames are shown in this format"
    assert "6 shown frames became 12" not in copy.problems(warnings=warning)
    # Hidden frames that are shown do not excuse that others are missing.
    other = Copy(clips["mp4"][0], output, 0.48)
    assert other.problems(warnings=warning) != ""


def test_frames_of_an_odd_size_have_a_digest():
    frames = [av.VideoFrame(65, 49, "yuv420p") for _ in range(2)]
    for frame, level in zip(frames, (0, 90), strict=True):
        for plane in frame.planes:
            plane.update(bytes([level]) * plane.buffer_size)
    first, second = frames
    assert _digest(first) == _digest(first) != _digest(second)


def test_frames_without_a_time_need_a_warning(clips, tmp_path):
    data = bytearray(clips["webm"][0].read_bytes())
    blocks = [part for part in parts_of(data) if part.name and data[part.name[0]] == 0xA3]
    at, width = [part for part in blocks if data[part.body] == 0x81][7].time
    data[at : at + width] = bytes(width)  # like the first frame of its cluster
    source = tmp_path / "a.webm"
    source.write_bytes(data)
    copy = correct_copy(source, tmp_path)
    assert copy.problems() == "frames 7 have no usable time, and no warning names them"
    warning = "1 frames with missing or backward time stamps were left out"
    assert copy.problems(warnings=warning) == ""


def test_edit_list_of_the_sound_is_read(clips, tmp_path):
    output = tmp_path / "out.mp4"
    add_tone(clips["fragmented"][0], output, length_s=0.41)
    assert edited_sound_s(output.read_bytes()) == pytest.approx(0.41, abs=1e-3)
    assert edited_sound_s(clips["mp4"][2].read_bytes()) == float("inf")


@pytest.mark.parametrize(
    ("stdout", "text"),
    [("", "not one JSON"), ("[]", "not one JSON"), ('{"a": NaN}', "JSON"), ("{}", "contains []")],
)
def test_stdout_must_be_one_json_object(clips, tmp_path, stdout, text):
    source, output = tmp_path / "clip.mp4", tmp_path / "out.mp4"
    source.write_bytes(clips["mp4"][2].read_bytes())
    add_tone(source, output)
    run = Run(status=0, stdout=stdout, stderr="")
    before = play(source, with_sound=False)
    verdict = judge(run, source=source, original=source.read_bytes(), before=before, output=output)
    assert verdict.kind == "wrong" and text in verdict.why


# The command


def test_cases_are_selected_by_name_and_in_turn():
    cases = first_cases(5, ["mkv", "ts", "mkv"])
    assert [case.name for case in cases] == ["mkv:0", "ts:0", "mkv:1", "ts:1", "mkv:2"]
    assert Case.named("mkv:17") == Case(container="mkv", number=17)
    for name in ("mkv", "mkv:x", "gif:1", "mkv:-1"):
        with pytest.raises(ConfigError, match="expected CONTAINER:NUMBER"):
            Case.named(name)
    with pytest.raises(ConfigError, match="'gif'"):
        first_cases(5, ["gif"])


@pytest.fixture
def command(monkeypatch, run_with):
    """Run the command with one of the products of `robustness_products`."""

    def run(product, *arguments):
        products = f"support.robustness_products:{product}"
        monkeypatch.setattr(measure, "run_cases", functools.partial(run_cases, product=products))
        return run_cli("measure", "robustness", *arguments)

    return run


def test_command_counts_results_and_exits_with_1_on_failures(command, tmp_path):
    arguments = ("--cases", "6", "--containers", "mp4,avi", "--seed", "3")
    good = command("refuse_everything", *arguments)
    assert good.status == 0
    lines = [line.split() for line in good.stdout.splitlines()]
    assert lines[0] == ["container", *"right refused traceback crash hang wrong".split()]
    assert lines[1:4] == [
        ["mp4", "0", "3", "0", "0", "0", "0"],
        ["avi", "0", "3", "0", "0", "0", "0"],
        ["all", "0", "6", "0", "0", "0", "0"],
    ]
    bad = command("raise_error", *arguments)
    assert bad.status == 1
    assert "traceback avi:2: exit None: RuntimeError: a bug" in bad.stdout
    assert "foleyflow measure robustness --case avi:2 --seed 3 " in bad.stdout


def test_report_of_the_command(command, corpus, tmp_path):
    arguments = ("--case", "mp4:9", "--case", "ts:2", "--seed", "0", "--workers", "1", "--json")
    out, keep = tmp_path / "report.json", tmp_path / "new" / "mutants"
    outcome = command("raise_error", *arguments, "--out", out, "--keep", keep)
    assert outcome.status == 1
    assert json.loads(out.read_text()) == outcome.answer
    assert outcome.answer["cases"] == 2 and outcome.answer["seed"] == 0
    assert outcome.answer["counts"]["all"]["traceback"] == 2
    first, second = outcome.answer["failures"]
    assert (first["case"], first["kind"], second["case"]) == ("mp4:9", "traceback", "ts:2")
    assert "RuntimeError: a bug" in first["stderr"] and first["changes"]
    assert (keep / "mp4-9.mp4").read_bytes() == corpus.mutant(Case.named("mp4:9")).data
    # Another seed gives other mutants for the same case.
    other = command("raise_error", *arguments, "--seed", "1")
    assert other.answer["failures"][0]["changes"] != first["changes"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--case", "mp4"), "expected CONTAINER:NUMBER"),
        (("--case", "mp4:1", "--cases", "3"), "expected one of both"),
        (("--case", "mp4:1", "--containers", "mp4"), "expected one of both"),
        (("--containers", "mp4,gif"), "'gif'"),
        (("--out", "nowhere/report.json"), "no such folder"),
        (("--workers", "0"), "--workers"),
        (("--cases", "0"), "--cases"),
    ],
)
def test_wrong_arguments_are_refused_before_any_work(arguments, text):
    outcome = run_cli("measure", "robustness", *arguments)
    assert outcome.status == 2
    assert text in outcome.stderr and outcome.stdout == ""


def test_folder_that_cannot_be_created_is_refused(tmp_path):
    (tmp_path / "file").touch()
    outcome = run_cli("measure", "robustness", "--keep", tmp_path / "file" / "folder")
    assert outcome.status == 2 and "can't be created" in outcome.stderr


# The product


@pytest.mark.slow
def test_no_mutant_makes_the_product_fail():
    results = run_cases(first_cases(200, list(CONTAINERS)), seed=0)
    failed = [f"{result.case} {result.kind}: {result.why}" for result in results if result.failed]
    assert failed == []
    found = counts(results)["all"]
    assert found["right"] >= 80 and found["refused"] >= 20
    # All seed clips are handled correctly.
    assert [r.case for r in results if not r.changes and r.kind != "right"] == []
