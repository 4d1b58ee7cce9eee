"""`-o` with a template, and lists of videos from a file or a pipe."""

import os
import shutil

import pytest
from support.cli_model import check_refusal, run_cli, run_process

from foleyflow.cli.output_names import output_names

VIDEOS = ["a/clip.mp4", "b/clip.mp4", "b/other.mov"]


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{number}.mp4", ["1.mp4", "2.mp4", "3.mp4"]),
        ("{folder}/{stem}.foley{suffix}", [f"{v[:-4]}.foley{v[-4:]}" for v in VIDEOS]),
        ("out/{number:03}-{name}", ["out/001-clip.mp4", "out/002-clip.mp4", "out/003-other.mov"]),
        ("{{{number}}}{suffix}", ["{1}.mp4", "{2}.mp4", "{3}.mov"]),
        ("{folder}/", ["a/", "b/", "b/"]),
    ],
)
def test_fields(template, expected):
    assert list(output_names(template, VIDEOS).values()) == expected


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{stme}.mp4", "unknown field {stme}, expected {stem}, {suffix}"),
        ("{stme}.mp4", "did you mean {stem}?"),
        ("{}.mp4", "unknown field {}"),
        ("{stem.upper}.mp4", "unknown field {stem.upper}"),
        ("{stem!r}.mp4", "unknown field {stem}"),
        ("{stem.mp4", "unpaired brace"),
        ("stem}.mp4", "unpaired brace"),
        ("{stem:03d}.mp4", "the format '03d' does not fit {stem}"),
        ("{stem}.foley.mp4", "a/clip.mp4 and b/clip.mp4 both give clip.foley.mp4"),
    ],
)
def test_wrong_templates_are_refused(template, message):
    outcome = run_cli("generate", *VIDEOS, "-o", template, "--dry-run")
    assert message in check_refusal(outcome)


@pytest.mark.parametrize("command", ["generate", "spot"])
def test_template_with_folders(model, clip, tmp_path, monkeypatch, command):
    """Missing folders are created, and those of failed videos are removed."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(clip, "one.mp4")
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    suffix = "{suffix}" if command == "generate" else ".csv"
    flags = ("-o", "out/{stem}/{number}" + suffix, "--model", model, "--json")
    outcome = run_cli(command, "one.mp4", "bad.mp4", *flags)
    assert outcome.status == 2
    name = f"out/one/1{suffix.replace('{suffix}', '.mp4')}"
    assert [result["output"] for result in outcome.answer["results"]] == [name]
    assert [path for path in os.listdir("out") if os.listdir(f"out/{path}")] == ["one"]


def test_template_of_one_video(tmp_path):
    outcome = run_cli("generate", "a/clip.mp4", "-o", "{folder}/{stem}.new{suffix}", "--dry-run")
    assert outcome.answer["plan"] == [{"video": "a/clip.mp4", "output": "a/clip.new.mp4"}]
    plan = run_cli("generate", "a/clip.mp4", "-o", "{{x}}.mp4", "--dry-run").answer["plan"]
    assert plan[0]["output"] == "{x}.mp4"
    assert "expected the name of the output file" in check_refusal(
        run_cli("generate", "-", "-o", "{stem}.mp4")
    )


@pytest.mark.parametrize("separator", ["\n", "\r\n", "\0"])
def test_a_list_from_a_pipe(tmp_path, separator):
    names = ["a b.mp4", "é.mp4", "-x.mp4", " c.mp4"]
    names += ["line\nbreak.mp4"] if separator == "\0" else []
    given = separator.join([*names, ""]).encode()
    flags = ("--files-from", "-", "-o", "{number}.mp4", "--dry-run")
    outcome = run_process("generate", *flags, given=given, cwd=tmp_path)
    assert (outcome.status, outcome.stderr) == (0, "")
    assert [each["video"] for each in outcome.answer["plan"]] == names


def test_a_list_in_a_file(model, clip, tmp_path, monkeypatch):
    """The answer has the form of that of several videos, and finished ones are skipped."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(clip, "one.mp4")
    (tmp_path / "list.txt").write_text("one.mp4\n")
    flags = ("--files-from", "list.txt", "--model", model, "--json")
    assert len(run_cli("spot", *flags).answer["results"]) == 1
    assert run_cli("spot", *flags).answer["skipped"] == ["one.cues.json"]
    (tmp_path / "list.txt").write_text("")
    empty = run_cli("spot", *flags)
    assert (empty.status, empty.answer["results"]) == (0, [])
    assert "the list has no names" in run_cli("spot", *flags[:-1]).stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "Missing argument 'VIDEO...'"),
        (("clip.mp4", "--files-from", "list.txt"), "expected one of them"),
        (("--files-from", "none.txt"), "--files-from none.txt: No such file"),
        (("--files-from", "list.txt"), "the list has - (standard input)"),
    ],
)
def test_wrong_lists_are_refused(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list.txt").write_text("a.mp4\n-\n")
    assert message in check_refusal(run_cli("generate", *arguments))
