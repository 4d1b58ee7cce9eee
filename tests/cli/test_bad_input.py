"""Bad inputs, outputs and settings are refused: one line and a hint, exit status 2, no files."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from support.cli_model import check_refusal, run_cli, run_process
from support.media_files import contents_of, damage, make_bad_files, make_video

from foleyflow.simulation.materials import MATERIAL_NAMES
from foleyflow.weights import file_sha256

BAD_NAMES = (
    "missing directory empty truncated text text_by_name audio_only cover_art picture "
    "zero_length tiny jumping too_wide undecodable no_time_stamps"
).split()


@pytest.fixture(scope="module")
def bad_files(tmp_path_factory):
    return make_bad_files(tmp_path_factory.mktemp("bad"))


@pytest.mark.parametrize("name", BAD_NAMES)
def test_bad_videos_are_refused(model, bad_files, tmp_path, name):
    bad = bad_files[name]
    outcome = run_cli("generate", bad.path, "--model", model, "-o", f"{tmp_path}/new/")
    line = check_refusal(outcome)
    assert str(bad.path) in line
    assert re.search(bad.match, line)
    assert list(tmp_path.iterdir()) == []


def test_every_kind_of_bad_video_is_tested(bad_files):
    assert sorted(bad_files) == sorted(BAD_NAMES)


def test_messages_of_libav_do_not_reach_the_terminal(model, bad_files, tmp_path):
    outcome = run_process(
        "generate", bad_files["truncated"].path, "--model", model, "-o", tmp_path / "out.mp4"
    )
    check_refusal(outcome)
    assert list(tmp_path.iterdir()) == []


def test_a_bad_video_is_described_in_json(model, bad_files, tmp_path):
    outcome = run_cli(
        "generate", bad_files["empty"].path, "--model", model, "-o", f"{tmp_path}/o.mp4", "--json"
    )
    assert outcome.status == 2
    assert outcome.answer.keys() == {"video", "error", "hint"}


def test_a_mostly_damaged_video_is_refused_after_decoding(model, tmp_path):
    good = make_video(tmp_path / "good.mp4", n_frames=60, key_frame_every=60)
    bad = damage(good, tmp_path / "bad.mp4", fraction=0.9)
    before = contents_of(tmp_path)
    outcome = run_cli("generate", bad, "--model", model)
    assert outcome.status == 2
    assert "video packets are damaged" in outcome.error_lines[-2]
    assert contents_of(tmp_path) == before


def test_a_slightly_damaged_video_gives_a_warning(model, tmp_path):
    good = make_video(tmp_path / "good.mp4", n_frames=60)
    bad = damage(good, tmp_path / "bad.mp4", fraction=0.2)
    outcome = run_cli("generate", bad, "--model", model, "--json")
    assert outcome.status == 0, outcome.stderr
    (warning,) = outcome.answer["warnings"]  # once, although it is logged and in the result
    assert re.fullmatch(r"\d+ of 60 video packets are damaged and were skipped", warning)
    assert outcome.stderr == ""
    outcome = run_cli("generate", bad, "--model", model, "--overwrite")
    assert (outcome.stdout + outcome.stderr).count("are damaged") == 1
    assert f"foleyflow: warning: {bad}: {warning}" in outcome.stderr


def test_the_input_is_refused_as_output(model, clip, tmp_path):
    video = tmp_path / "clip.mp4"
    shutil.copy(clip, video)
    (tmp_path / "link.mp4").symlink_to(video)
    before = contents_of(tmp_path)
    for name in ("clip.mp4", "link.mp4"):
        outcome = run_cli("generate", video, "--model", model, "-o", tmp_path / name, "--overwrite")
        assert "the output is the input itself" in check_refusal(outcome)
    assert contents_of(tmp_path) == before


def test_a_directory_is_refused_as_output(model, clip, tmp_path):
    (tmp_path / "clip.foley.mp4").mkdir()
    outcome = run_cli("generate", clip, "--model", model, "-o", tmp_path)
    assert "is a directory" in check_refusal(outcome)


@pytest.mark.parametrize(
    ("name", "flags", "message"),
    [
        ("nowhere/a.mp4", (), "no such folder"),
        ("a.wav", (), "expected a name ending in a video suffix"),
        ("a.mp4", ("--audio-only",), "expected a name ending in .wav"),
        ("a.txt", (), "no video format is known by the suffix '.txt'"),
        ("a", (), "no video format is known by the suffix ''"),
    ],
)
def test_output_names_that_do_not_fit_are_refused(model, clip, tmp_path, name, flags, message):
    outcome = run_cli("generate", clip, "--model", model, "-o", tmp_path / name, *flags)
    assert message in check_refusal(outcome)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write to every folder")
def test_an_output_folder_without_permission_is_refused(model, clip, tmp_path):
    tmp_path.chmod(0o500)
    outcome = run_cli("generate", clip, "--model", model, "-o", tmp_path / "a.mp4")
    tmp_path.chmod(0o700)
    assert "not allowed to write there" in check_refusal(outcome)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 64 KiB, if this user may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("only root can mount a small disk")
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("a small disk can't be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("suffix", [".mp4", ".wav"])
def test_a_full_disk_is_reported(model, small_disk, tmp_path, suffix):
    video = make_video(tmp_path / "long.mp4", n_frames=100)
    (small_disk / "ballast").write_bytes(bytes(32768))
    flags = ("--audio-only",) if suffix == ".wav" else ()
    outcome = run_cli("generate", video, "--model", model, "-o", small_disk / f"a{suffix}", *flags)
    assert "no space left on the disk" in check_refusal(outcome)
    assert [path.name for path in small_disk.iterdir()] == ["ballast"]


def test_the_output_is_kept_if_the_report_does_not_fit_on_the_disk(model, clip, small_disk):
    output = small_disk / "a.mp4"
    assert run_cli("generate", clip, "--model", model, "-o", output).status == 0
    size = output.stat().st_size
    output.unlink()
    (small_disk / "ballast").write_bytes(bytes(65536 - 4096 - -(-size // 4096) * 4096))
    outcome = run_cli("generate", clip, "--model", model, "-o", output, "--report")
    line = check_refusal(outcome)
    assert "report" in line or "was written, but" in line
    assert sorted(path.name for path in small_disk.iterdir()) == ["a.mp4", "ballast"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--material", "cheese"), f"'cheese': expected auto or one of {MATERIAL_NAMES[0]}"),
        (("--loudness", "loud"), "--loudness 'loud': expected LUFS, or off"),
        (("--loudness", "3"), "--loudness 3: expected -70 to 0 LUFS"),
        (("--loudness", "nan"), "--loudness nan: expected -70 to 0 LUFS"),
        (("--loudness", "-inf"), "--loudness -inf: expected -70 to 0 LUFS"),
    ],
)
def test_bad_settings_are_refused(model, clip, tmp_path, flags, message):
    outcome = run_cli("generate", clip, "--model", model, "-o", f"{tmp_path}/new/", *flags)
    assert message in check_refusal(outcome)
    assert list(tmp_path.iterdir()) == []


def test_a_bad_setting_stops_a_batch(model, clip, tmp_path):
    other = make_video(tmp_path / "other.mp4", n_frames=5)
    outcome = run_cli(
        "generate", clip, other, "--model", model, "-o", f"{tmp_path}/new/", "--material", "cheese"
    )
    check_refusal(outcome)
    assert [path.name for path in tmp_path.iterdir()] == ["other.mp4"]


def test_errors_of_the_command_are_described_in_json(model, clip, tmp_path):
    outcome = run_cli("generate", clip, "--model", tmp_path, "-o", f"{tmp_path}/a.mp4", "--json")
    assert outcome.status == 2
    assert outcome.answer["hint"] and "expected 'embedded' or a folder" in outcome.answer["error"]


def rewrite(model: Path, edit) -> None:
    """Edits the components in a model's config.json."""
    path = model / "config.json"
    content = json.loads(path.read_text())
    edit(content["components"])
    path.write_text(json.dumps(content))


def flip_bytes(model: Path) -> None:
    path = model / "flow.safetensors"
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 8] = bytes(8 * [0x55])
    path.write_bytes(data)


def cut_short(model: Path) -> None:
    path = model / "codec.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    rewrite(model, lambda parts: parts["codec"].update(sha256=file_sha256(path)))


def lose_flow(model: Path) -> None:
    rewrite(model, lambda parts: parts.pop("flow"))


def with_setting(part: str, **settings):
    """A change of a part's config."""
    return lambda model: rewrite(model, lambda parts: parts[part]["config"].update(settings))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (flip_bytes, "the hash differs"),
        (cut_short, "not a safetensors file"),
        (lambda model: (model / "align.safetensors").unlink(), "align.safetensors: no such file"),
        (lose_flow, "expected a component 'flow'"),
        (with_setting("flow", width=24), "does not fit its config"),
        (with_setting("codec", octaves=7), "octaves"),
        (with_setting("flow", latent_rate_hz=40.0), "expected one of each"),
        (lambda model: (model / "config.json").write_text("{"), "not JSON"),
        (lambda model: (model / "config.json").write_text('{"format": 99}'), "99, expected 1"),
        (with_setting("flow", width="wide"), "config of 'flow'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_damaged_and_foreign_models_are_refused(model, clip, tmp_path, change, message):
    changed = tmp_path / "model"
    shutil.copytree(model, changed)
    change(changed)
    outcome = run_cli("generate", clip, "--model", changed, "-o", tmp_path / "a.mp4")
    assert message in check_refusal(outcome)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_unknown_models_are_refused(clip, tmp_path):
    outcome = run_cli("generate", clip, "--model", "embeded", "-o", tmp_path / "a.mp4")
    assert "model 'embeded'" in check_refusal(outcome)
    assert list(tmp_path.iterdir()) == []
