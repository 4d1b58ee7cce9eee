"""File names that are valid but unusual, on the command line."""

import json
import os
import re
import shutil
from pathlib import Path

import pytest
from support.cli_model import check_refusal, run_cli, run_process

COMPANIONS = ("--report", "--events", "--sidecar")
NOT_UTF8 = os.fsdecode(b"caf\xe9.mp4")


def is_printable(text: str) -> bool:
    """Whether all characters except line breaks are printable."""
    return all(character.isprintable() for character in text if character != "\n")


@pytest.mark.parametrize(
    "name",
    [
        "日" * 80 + ".mp4",
        NOT_UTF8,
        "a\x1b[31mred\nline\t.mp4",
        "-x.mp4",
        "%03d.mp4",
        "{case}.mp4",
        "http:x.mp4",
        "a b .mp4",
        "CLIP.MP4",
        ".mp4.mp4",
        "$HOME `x` \"'\\ $\\frac$.mp4",
    ],
)
def test_odd_name(model, clip, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    shutil.copy(clip, tmp_path / name)
    outcome = run_cli("generate", "--model", model, "--seed", "2", "--", name)
    assert (outcome.status, outcome.stderr) == (0, "")
    assert is_printable(outcome.stdout) and len(outcome.stdout.splitlines()) == 3
    output, sheet = f"{name[:-4]}.foley{name[-4:]}", f"{name[:-4]}.cues.json"
    assert sorted(os.listdir(tmp_path)) == sorted([name, output])
    outcome = run_cli("spot", "--model", model, "--", name)
    assert (outcome.status, outcome.stderr) == (0, "")
    assert is_printable(outcome.stdout) and len(outcome.stdout.splitlines()) == 2
    assert sorted(os.listdir(tmp_path)) == sorted([name, output, sheet])
    flags = ("--model", model, "--overwrite", f"--cues={sheet}")
    assert run_cli("generate", *flags, "--", name).status == 0


@pytest.mark.parametrize("name", [NOT_UTF8, "a\x1b[31mred\nline.mp4", "日.mp4"])
def test_odd_name_with_all_files_next_to_the_output(model, clip, tmp_path, name):
    shutil.copy(clip, tmp_path / name)
    outcome = run_cli("generate", tmp_path / name, "--model", model, *COMPANIONS, "--json")
    assert (outcome.status, outcome.stderr) == (0, "")
    assert outcome.stdout.isascii() and is_printable(outcome.stdout)
    assert len(list(tmp_path.iterdir())) == 8
    for content in (
        outcome.answer,
        json.loads((tmp_path / f"{name[:-4]}.foley.mp4.json").read_text()),
    ):
        json.dumps(content, ensure_ascii=False).encode()  # no lone surrogate
        escaped = name.replace("\udce9", r"\xe9")
        assert content["video"] == str(tmp_path / escaped)


def test_odd_names_on_an_ascii_terminal(model, clip, tmp_path):
    """Results, errors and skipped videos are printed in ASCII."""
    for name in (NOT_UTF8, "日.mp4", "é.mp4", "é.foley.mp4"):
        shutil.copy(clip, tmp_path / name)
    outcome = run_process(
        *("generate", NOT_UTF8, "日.mp4", "é.mp4", f"no{NOT_UTF8}", "没有.mp4", "--model", model),
        cwd=tmp_path,
        environment={"PYTHONIOENCODING": "ascii"},
    )
    assert outcome.status == 2
    lines = outcome.stdout.splitlines()
    outputs = [line.split("  ")[0] for line in lines if not line.startswith("  loudness: ")]
    assert outputs == [r"caf\xe9.foley.mp4", r"\u65e5.foley.mp4"]
    skipped, missing, _, other, _ = outcome.error_lines
    assert skipped.startswith(r"\xe9.foley.mp4: exists, skipped")
    assert missing == r"foleyflow: nocaf\xe9.mp4: no such file"
    assert other == r"foleyflow: \u6ca1\u6709.mp4: no such file"


def test_control_characters_in_errors_are_escaped(model, tmp_path):
    outcome = run_cli("generate", tmp_path / "no\x1b[2J\nfoleyflow: ok.mp4", "--model", model)
    assert outcome.status == 2
    line, _ = outcome.error_lines
    assert r"no\x1b[2J\nfoleyflow: ok.mp4: no such file" in line
    assert is_printable(outcome.stderr)


@pytest.mark.parametrize(
    "arguments",
    [("generate", "--nope\x1b[2J"), ("generate\x1b[2J",), ("bench", "x\x1b[2J\udce9")],
)
def test_control_characters_in_wrong_usage_are_escaped(arguments):
    outcome = run_process(*arguments)
    assert outcome.status == 2
    assert r"\x1b[2J" in outcome.stderr and is_printable(outcome.stderr)


def test_wrong_usage_is_json_on_request():
    outcome = run_cli("generate", "a.mp4", "--steps", "many", "--json")
    assert outcome.status == 2
    assert outcome.answer.keys() == {"error", "hint"}
    assert "--steps" in outcome.answer["error"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "'': an empty name"),
        (".", ".: is a directory"),
        ("/", "/: is a directory"),
        ("..", "..: is a directory"),
        ("./", "./: is a directory"),
        ("clip.mp4/inside.mp4", "clip.mp4/inside.mp4: no such file"),
    ],
)
def test_names_that_no_video_can_have_are_refused(
    model, clip, tmp_path, monkeypatch, name, message
):
    monkeypatch.chdir(tmp_path)
    shutil.copy(clip, "clip.mp4")
    line = check_refusal(run_cli("generate", name, "--model", model))
    assert line.startswith(f"foleyflow: {message}")
    outcome = run_cli("generate", name, "--model", model, "--json")
    assert outcome.answer.keys() == {"video", "error", "hint"}
    # The other videos of a batch are generated.
    outcome = run_cli("generate", name, "clip.mp4", "--model", model, "-o", "new/", "--json")
    assert outcome.status == 2
    assert [result["output"] for result in outcome.answer["results"]] == ["new/clip.foley.mp4"]
    assert [error["video"] for error in outcome.answer["errors"]] == [name]
    outcome = run_cli("generate", name, "clip.mp4", "--model", model, "-o", "x.mp4")
    assert outcome.status == 2 and "one file for 2 videos" in outcome.error_lines[0]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "-o '': an empty name"),
        ("clip.mp4/", "clip.mp4: is a file, not a folder"),
        ("clip.mp4/out.mp4", "clip.mp4: is a file, not a folder"),
        ("clip.mp4/new/", "can't be created"),
        ("dangling/out.mp4", "no such folder"),
        ("away.mp4", "whose folder does not exist"),
        ("round.mp4", "symbolic links"),
        ("null.mp4", "is a pipe or a device, not a file"),
        ("fifo.mp4", "is a pipe or a device, not a file"),
        ("日" * 84 + ".mp4", "the file name is too long (256 bytes"),
    ],
)
def test_outputs_that_cannot_be_written_are_refused(
    model, clip, tmp_path, monkeypatch, name, message
):
    monkeypatch.chdir(tmp_path)
    shutil.copy(clip, "clip.mp4")
    Path("dangling").symlink_to("nowhere")
    Path("away.mp4").symlink_to("nowhere/out.mp4")
    Path("round.mp4").symlink_to("round.mp4")
    Path("null.mp4").symlink_to(os.devnull)
    os.mkfifo("fifo.mp4")
    before = sorted(os.listdir())
    outcome = run_cli("generate", "clip.mp4", "--model", model, "-o", name, "--overwrite")
    assert message in check_refusal(outcome)
    assert sorted(os.listdir()) == before
    assert Path(os.devnull).is_char_device()


def test_the_current_folder_as_output(model, clip, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run_cli("generate", clip, "--model", model, "-o", ".").status == 0
    assert os.listdir() == ["clip.foley.mp4"]


@pytest.mark.parametrize("count", [243, 246, 251])
def test_too_long_names_of_outputs_are_refused_before_any_work(model, clip, tmp_path, count):
    """The name of the default output or its report exceeds 255 bytes."""
    video = tmp_path / ("x" * count + ".mp4")
    shutil.copy(clip, video)
    outcome = run_cli("generate", video, "--model", model, *COMPANIONS)
    assert outcome.status == 2
    line, hint = outcome.error_lines
    assert re.search(r"the file name is too long \(2[56]\d bytes", line) and "-o" in hint
    assert os.listdir(tmp_path) == [video.name]
    # A shorter output name works, and the other videos of a batch are generated.
    other = tmp_path / "clip.mp4"
    shutil.copy(clip, other)
    outcome = run_cli("generate", video, other, "--model", model, *COMPANIONS, "--json")
    assert (len(outcome.answer["results"]), len(outcome.answer["errors"])) == (1, 1)
    assert run_cli("generate", video, "--model", model, "-o", tmp_path / "o.mp4").status == 0


def test_the_longest_names_work(model, clip, tmp_path):
    video = tmp_path / ("x" * 251 + ".mp4")
    output = tmp_path / ("é" * 118 + "wxyz.mp4")  # 255 bytes with .report.png
    shutil.copy(clip, video)
    outcome = run_cli("generate", video, "--model", model, "-o", output, *COMPANIONS)
    assert outcome.status == 0, outcome.stderr
    assert len(os.listdir(tmp_path)) == 8
    assert {len(os.fsencode(name)) for name in os.listdir(tmp_path)} == {
        244,
        248,
        249,
        253,
        254,
        255,
    }


@pytest.mark.parametrize("overwrite", [False, True])
def test_the_target_of_a_linked_output_is_written(model, clip, tmp_path, overwrite):
    (tmp_path / "real").mkdir()
    target, link = tmp_path / "real" / "target.mp4", tmp_path / "link.mp4"
    link.symlink_to("real/target.mp4")
    if overwrite:
        target.write_bytes(b"old")
        refused = run_cli("generate", clip, "--model", model, "-o", link)
        assert refused.status == 2 and "already exists" in refused.stderr
        assert target.read_bytes() == b"old"
    flags = ("--overwrite",) if overwrite else ()
    outcome = run_cli("generate", clip, "--model", model, "-o", link, *flags)
    assert outcome.status == 0, outcome.stderr
    assert link.is_symlink() and target.stat().st_size > 1000
    assert sorted(os.listdir(tmp_path)) == ["link.mp4", "real"]
    assert os.listdir(target.parent) == ["target.mp4"]


def test_an_output_in_a_linked_folder_works(model, clip, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    outcome = run_cli("generate", clip, "--model", model, "-o", tmp_path / "link", "--report")
    assert outcome.status == 0, outcome.stderr
    assert len(os.listdir(tmp_path / "real")) == 2
    assert (tmp_path / "link").is_symlink()


def test_circular_links_do_not_stop_a_batch(model, clip, tmp_path):
    (tmp_path / "round.mp4").symlink_to("round.mp4")
    outcome = run_cli(
        "generate", tmp_path / "round.mp4", clip, "--model", model, "-o", f"{tmp_path}/o/", "--json"
    )
    assert outcome.status == 2
    assert "leads back to itself" in outcome.answer["errors"][0]["error"]
    assert len(outcome.answer["results"]) == 1


def test_a_named_pipe_is_refused(model, tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    outcome = run_cli("generate", tmp_path / "pipe.mp4", "--model", model)
    assert outcome.status == 2
    line, hint = outcome.error_lines
    assert "a pipe can't be used as a file" in line
    assert "generate - -o NAME" in hint


def test_a_full_stdout_shows_no_traceback(model, clip, tmp_path):
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("needs a device that is always full")
    code = (
        f"import os; os.dup2(os.open({str(full)!r}, os.O_WRONLY), 1)\n"
        "from foleyflow.cli import main; main()"
    )
    outcome = run_process(
        *("generate", clip, "--model", model, "-o", tmp_path / "a.mp4", "--json"),
        python=("-c", code),
    )
    assert outcome.status == 2
    assert "No space left" in outcome.stderr and "Traceback" not in outcome.stderr
