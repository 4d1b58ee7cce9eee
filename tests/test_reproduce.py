"""A dry run of docs/reproduce.md: all commands of the page, in order, on a data set of seconds.

The page's text is executed as it stands. What is appended to its commands makes networks, clips
and trainings small (`SIZES`, `ADDED`), and the published networks are replaced by small ones with
random weights. The codec is trained by torchrun with two processes; the other trainings have one,
because processes that torchrun starts do not have the small networks.
"""

from __future__ import annotations

import glob
import json
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from support.cli_model import Outcome, process_environment, run_cli, settings_flags
from support.local_ray import local_cluster
from support.media_files import Sound, make_video
from support.small_encoders import publish
from support.small_judges import publish_judge
from support.small_networks import ENCODERS, JUDGES, use_small_networks
from support.small_vggsound import FRAME_RATE, RATE_HZ, hits, hum, painter

pytest.importorskip("ray", reason="the page uses a cluster: it needs the extra 'cluster' (ray)")

from foleyflow.encoders import catalogue
from foleyflow.experiments.judged_sounds import PUBLISHED_COLUMNS, SIMULATION_COLUMNS
from foleyflow.experiments.tables.systems import PRINTED
from foleyflow.judges import adapters
from foleyflow.judges.weights import FILES
from foleyflow.pretrained import load_aligner, load_codec, load_flow
from foleyflow.recipes import recipe_named

# Ray emits deprecation warnings, and warnings about sockets that it closes at exit.
pytestmark = pytest.mark.filterwarnings("ignore")

PAGE = Path(__file__).parents[1] / "docs" / "reproduce.md"
PROCESSES = ["torchrun", "--nproc-per-node", "8", "-m", "foleyflow"]
CLIP_S, TRAIN_CLIPS, TEST_CLIPS = 3.0, 6, 3
SHORT = ("train.steps=2", "train.batch_clips=2", "train.validate_every=2", "train.log_every=1")
ALIGNER = (
    "model.heads=2",
    "model.width=16",
    "model.video_layers=1",
    "model.audio_layers=1",
    "model.decoder_layers=1",
    "windows.segments=8",
    "bottleneck=4",
)
FLOW = (
    "model.heads=2",
    "model.width=16",
    "model.layers=1",
    "model.condition_width=16",
    "windows.segments=8",
    "context.shortest_context=8",
    "context.longest_context=16",
)
GENERAL_CODEC = (
    "model.encoder_width=2",
    "model.decoder_width=2",
    "losses.crop_s=0.2",
    "adversarial.networks.periods=2,3",
    "adversarial.networks.period_channels=4,4",
    "adversarial.networks.windows_samples=256",
    "adversarial.networks.spectral_channels=2",
)
VOCODER = ("model.width=16", "model.blocks=1", "model.fine_width=16", "model.fine_blocks=1")
# Task and recipe -> settings that make it small; for `train` and for `data prepare`
SIZES = {
    ("codec", "general"): GENERAL_CODEC,
    ("codec", "literal"): (*VOCODER, "losses.crop_segments=8"),
    ("vocoder", "base"): (*VOCODER, "losses.crop_s=0.2"),
    ("align", "published"): ALIGNER,
    ("align", "literal-audiomae"): ALIGNER,
    ("flow", "published"): (*FLOW, "stages.dcf_steps=1"),
    ("flow", "literal"): (*FLOW, "stages.dcf_steps=1"),
    ("flow", "published-matching"): (*FLOW, "stages.dcf_steps=2"),
    ("flow", "published-quarters"): (*FLOW, "stages.merge_steps=2"),
    ("flow", "published-merge"): (*FLOW, "stages.merge_steps=2"),
    ("flow", "published-polish"): (*FLOW, "stages.polish_steps=2"),
}
# First words of other commands -> what is appended
ADDED = {
    "data vggsound": ["--duration", CLIP_S, "--segment", CLIP_S, "--validation", 0.2],
    "evaluate": ["--device", "cpu"],
    "generate": ["--device", "cpu"],
    "measure ceiling": ["--device", "cpu"],
    "ablate": ["--device", "cpu"],
}


def commands_of(page: str) -> list[list[str]]:
    """The words of each command in the blocks marked `sh`, with the page's abbreviations."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    names: dict[str, str] = {}
    commands = []
    for line in "".join(blocks).replace("\\\n", " ").splitlines():
        if assigned := re.fullmatch(r"([A-Z]+)=(.*)", line):
            (names[assigned[1]],) = shlex.split(assigned[2])
            continue
        line = re.sub(r"\$([A-Z]+)", lambda found: names[found[1]], line)
        commands.append(shlex.split(line))
    return commands


def miniature(command: list[str]) -> list[str]:
    """The arguments of `foleyflow` for a command of the page, with what makes it small."""
    if command[: len(PROCESSES)] == PROCESSES:
        arguments = command[len(PROCESSES) :]
    else:
        assert command[0] == "foleyflow", command
        arguments = command[1:]
    added: list[object] = []
    if arguments[0] == "train" or arguments[:2] == ["data", "prepare"]:
        task = arguments[1] if arguments[0] == "train" else arguments[2]
        recipe = arguments[arguments.index("--recipe") + 1]
        added += settings_flags(*SHORT, *SIZES[task, recipe])
        if arguments[0] == "train":
            added += ["--device", "cpu"]
    for words, more in ADDED.items():
        if arguments[: len(words.split())] == words.split():
            added += more
    found = [sorted(glob.glob(word)) if "*" in word else [word] for word in arguments]
    assert all(found), arguments
    return [*(word for words in found for word in words), *map(str, added)]


@pytest.fixture(scope="module")
def lab(tmp_path_factory, timm):
    """The folder in which the page begins: list, videos, and weights of small encoders."""
    folder = tmp_path_factory.mktemp("lab")
    (folder / "clips").mkdir()
    rows = []
    for number in range(TRAIN_CLIPS + TEST_CLIPS):
        times_s = np.arange(round(CLIP_S * FRAME_RATE)) / FRAME_RATE
        hits_s = np.array([0.4, 1.1, 1.9]) + 0.05 * number
        is_test = number >= TRAIN_CLIPS
        make_video(
            folder / "clips" / f"clip-{number}_000010.mp4",
            rate=FRAME_RATE,
            n_frames=len(times_s),
            painter=painter(number, times_s, hits_s=hits_s if is_test else ()),
            codec_options={"preset": "ultrafast"},
            sound=Sound(
                samples=hits(hits_s, CLIP_S) if is_test else hum(number, CLIP_S), rate_hz=RATE_HZ
            ),
        )
        rows.append(f"clip-{number},10,thing,{'test' if is_test else 'train'}")
    rows.append("clip-lost,10,thing,test")  # a video that is no longer on the platform
    (folder / "vggsound.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    for name in ENCODERS:
        publish(name, folder / "weights")
    for name in JUDGES:
        publish_judge(name, folder / "weights")
    return folder


@pytest.fixture(scope="module")
def small_networks():
    """Small encoders and judges in this process and in the workers of a cluster."""
    tables = (catalogue.VIDEO_ENCODERS, catalogue.SOUND_ENCODERS, FILES, adapters.NETWORKS)
    before = [dict(known) for known in tables]
    use_small_networks()
    with local_cluster(setup="support.small_networks.use_small_networks") as cluster:
        yield cluster
    for known, old in zip(tables, before, strict=True):
        known.update(old)


def run(command: list[str]) -> Outcome:
    """Runs a command of the page in this process, or by torchrun."""
    arguments = miniature(command)
    if arguments[:4] != ["train", "codec", "--recipe", "general"]:
        return run_cli(*arguments)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*torchrun, "-m", "foleyflow", *arguments],
        capture_output=True,
        text=True,
        env=process_environment(),
    )
    return Outcome(status=done.returncode, stdout=done.stdout, stderr=done.stderr)


@pytest.fixture(scope="module")
def executed(lab, small_networks):
    """Runs the page; returns the folder and the standard output of each command."""
    outputs: dict[str, str] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(lab)
        for command in commands_of(PAGE.read_text(encoding="utf-8")):
            begun_s = time.monotonic()
            outcome = run(command)
            text = shlex.join(command)
            print(f"{time.monotonic() - begun_s:6.1f} s  {text}")
            assert outcome.status == 0, f"{text}\n{outcome.stderr}"
            outputs[text] = outcome.stdout
    return lab, outputs


def test_every_command_of_the_page_is_found():
    commands = commands_of(PAGE.read_text(encoding="utf-8"))
    first_words = {" ".join(word for word in miniature_free(each)[:2]) for each in commands}
    assert {"data vggsound", "data export", "train codec", "train align", "train flow"} <= (
        first_words
    )
    assert {"average runs/flow-p1/model", "ablate table1"} <= first_words
    assert len(commands) > 25


def miniature_free(command: list[str]) -> list[str]:
    """A command without the words that start processes."""
    return command[len(PROCESSES) :] if command[0] == "torchrun" else command[1:]


def test_commands_have_one_line_each():
    page = "```sh\nRUN='torchrun -m x'\nA=\"--b c\"\n$RUN $A \\\n    --out 'a b'\nls\n```\n"
    assert commands_of(page + "```\nignored\n```\n") == [
        ["torchrun", "-m", "x", "--b", "c", "--out", "a b"],
        ["ls"],
    ]


@pytest.mark.slow
def test_the_page_ends_with_rows_of_table_1(executed):
    lab, outputs = executed
    table = json.loads((lab / "table" / "table1.json").read_text(encoding="utf-8"))
    assert set(table["rows"]) == {"published", "paper", "literal"}
    for row in table["rows"].values():
        assert row["clips"] == TEST_CLIPS
        for column in (*PUBLISHED_COLUMNS, *SIMULATION_COLUMNS, "onset F1"):
            assert np.isfinite(row["columns"][column]["mean"]), column
    assert {"true sound", "silence"} <= set(table["controls"])
    assert set(table["printed"]["rows"]) == set(PRINTED)
    text = (lab / "table" / "table1.md").read_text(encoding="utf-8")
    assert "| published |" in text and "not comparable" in text
    built = next(text for command, text in outputs.items() if "data vggsound" in command)
    assert "clip-lost" in built  # the list of test clips without a file


@pytest.mark.slow
def test_models_of_the_page_are_those_of_its_recipes(executed):
    lab, _ = executed
    assert load_aligner(lab / "models/published").encoder.config.published == "eva-clip-l"
    assert load_aligner(lab / "models/literal").encoder.config.published == "eva-clip-g"
    assert load_codec(lab / "models/published").config.rate_hz == 48_000
    for name in ("published", "paper", "literal"):
        assert int(load_flow(lab / "models" / name).trained_intervals) == 1  # one step
    environment = json.loads((lab / "runs/codec/environment.json").read_text())
    assert environment["processes"] == 2
    settings = json.loads((lab / "runs/flow-p2/config.json").read_text())["settings"]
    assert settings["real"] == "runs/flow/model"
    assert recipe_named("flow", "published-polish").align == "runs/published/model"


@pytest.mark.slow
def test_sizes_are_used(executed):
    """An entry that no command of the page needs would hide a command that is missing."""
    _, outputs = executed
    joined = "\n".join(outputs)
    for task, recipe in SIZES:
        assert re.search(rf"(train|prepare) {task} --recipe {recipe} ", joined), (task, recipe)
    for words in ADDED:
        assert f"foleyflow {words} " in joined, words
