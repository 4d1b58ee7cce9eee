"""The gallery: its clips, the counts of what was corrected, its pictures and its page."""

from __future__ import annotations

import re

import numpy as np
import pytest
from PIL import Image
from support.cli_model import check_refusal, make_model, run_cli

from foleyflow.cues.cue import Cue
from foleyflow.cues.files import read_cues
from foleyflow.cues.sheet import CueSheet
from foleyflow.experiments.gallery import compare_cues, labels_of, without_unknown_fields
from foleyflow.experiments.gallery_clips import DURATION_S, GALLERY
from foleyflow.experiments.gallery_page import corrected_text, found_text
from foleyflow.experiments.gallery_pictures import LIMIT_BYTES, PICTURE_PX
from foleyflow.features.cue_labels import sheet_of_labels
from foleyflow.inference.report_cues import COLOURS
from foleyflow.media import probe
from foleyflow.media.waveform import read_waveform
from foleyflow.simulation.materials import MATERIAL_NAMES

CHOSEN = ("hammer", "scraping")


def simulated(clip):
    pytest.importorskip("mujoco", reason="needs the extra 'physics' (mujoco)")
    from foleyflow.simulation.dataset.simulate import simulate_example

    return simulate_example(
        seed=clip.seed, family=clip.family, duration_s=DURATION_S, audio_only=True
    )


def exact_cues(clip):
    return without_unknown_fields(sheet_of_labels(labels_of(simulated(clip), clip.name)))


def sheet(*cues):
    return CueSheet(cues=cues, duration_s=DURATION_S)


@pytest.fixture(scope="module")
def gallery(smoke_model, judge, tmp_path_factory):
    """Two small clips with their media, in a folder with a picture of an earlier gallery."""
    pytest.importorskip("mujoco", reason="needs the extra 'physics' (mujoco)")
    out = tmp_path_factory.mktemp("gallery") / "out"
    out.mkdir()
    (out / "README.md").write_text("# Gallery\n\nAn earlier one.\n")
    (out / "glass-found.png").write_bytes(b"")
    (out / "own.png").write_bytes(b"")
    chosen = [part for name in CHOSEN for part in ("--clip", name)]
    outcome = run_cli(
        *("gallery", "--out", out, "--model", smoke_model, "--judge", judge, *chosen),
        *("--height", "64", "--media", "--json"),
    )
    assert outcome.status == 0, outcome.stderr
    return out, outcome.answer


@pytest.mark.parametrize("clip", GALLERY, ids=lambda clip: clip.name)
def test_clips_sound_of_the_materials_of_their_scenes(clip):
    cues = exact_cues(clip)
    assert {cue.material for cue in cues} == set(clip.materials) <= set(MATERIAL_NAMES)
    assert bool(cues.frictions) == (clip.name in ("falling", "rolling", "scraping"))


def test_there_are_ten_clips_with_different_names():
    assert len({clip.name for clip in GALLERY}) == len({clip.title for clip in GALLERY}) == 10


def test_exact_cues_need_no_correction():
    for clip in GALLERY:
        cues = exact_cues(clip)
        counts = compare_cues(cues, cues)
        assert counts["hits"] == counts["hits_found"] == counts["materials"] == len(cues.hits)
        assert counts["frictions"] == counts["frictions_found"] == len(cues.frictions)
        assert counts["friction_materials"] == len(cues.frictions)
        assert counts["false_hits"] == counts["false_frictions"] == 0
        assert corrected_text(counts) == "all times and levels set"


def test_each_kind_of_mistake_is_counted():
    exact = sheet(
        Cue(time_s=0.5, material="wood"),
        Cue(time_s=1.0, material="wood"),
        Cue(time_s=2.0, material="wood"),
        Cue(time_s=2.5, kind="roll", end_s=3.0, material="metal"),
        Cue(time_s=3.2, kind="scrape", end_s=3.6),
    )
    found = sheet(
        Cue(time_s=0.54, material="wood"),
        Cue(time_s=0.96, material="glass"),
        Cue(time_s=1.5, material="wood"),
        Cue(time_s=2.0, material="wood", enabled=False),
        Cue(time_s=0.1, kind="roll", end_s=0.4),
        Cue(time_s=2.9, kind="scrape", end_s=3.1),
    )
    counts = compare_cues(found, exact)
    assert counts == {
        "hits": 3,
        "hits_found": 2,
        "materials": 1,
        "false_hits": 1,
        "frictions": 2,
        "frictions_found": 1,
        "friction_materials": 0,
        "false_frictions": 1,
    }
    assert found_text(counts) == (
        "two of three hits, one with the right material; one of two rolls or scrapes, "
        "none with the right material; two cues where nothing sounds"
    )
    assert corrected_text(counts) == (
        "one hit added; one roll or scrape added; two cues removed; two materials changed; "
        "all times and levels set"
    )


def test_the_page_shows_each_picture_and_no_other(gallery):
    out, report = gallery
    page = (out / "README.md").read_text("utf-8")
    shown = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", page)
    pictures = [f"{name}-{stage}.png" for name in CHOSEN for stage in ("found", "corrected")]
    assert shown == pictures
    assert {path.name for path in out.glob("*.png")} == {*pictures, "own.png"}
    for clip in report["clips"]:
        assert f"\n## {clip['title']}\n" in page and clip["scene"] in page
        row = next(line for line in page.splitlines() if line.startswith(f"| [{clip['title']}]"))
        figures = [f"{clip[stage]['onset_f1']:.2f}" for stage in ("found", "corrected")]
        assert [cell.strip() for cell in row.split("|")][3:5] == figures
    assert all(digits in page for digits in report["weights"].values())


def test_pictures_are_small_and_have_the_colours_of_their_cues(gallery):
    out, report = gallery
    for clip in report["clips"]:
        path = out / clip["corrected"]["picture"]
        assert path.stat().st_size <= LIMIT_BYTES
        with Image.open(path) as image:
            assert image.size == PICTURE_PX == (1120, 700)
            pixels = np.asarray(image.convert("RGB")).astype(int)
        colour = COLOURS[clip["material"]]
        wanted = [int(colour[start : start + 2], 16) for start in (1, 3, 5)]
        assert (np.abs(pixels - wanted).max(axis=2) < 8).sum() > 20


def test_media_are_the_corrected_sheet_and_the_video_with_each_sound(gallery):
    out, _ = gallery
    for clip in (clip for clip in GALLERY if clip.name in CHOSEN):
        corrected = read_cues(
            out / f"{clip.name}-corrected.cues.csv", duration_s=DURATION_S, materials=None
        )
        assert corrected == exact_cues(clip)
        assert len(read_cues(out / f"{clip.name}-found.cues.csv", duration_s=4.0, materials=None))
        for sound in ("found", "corrected", "true"):
            path = out / f"{clip.name}-{sound}.mp4"
            assert probe(path).duration_s == pytest.approx(DURATION_S, abs=1e-3)
        true = simulated(clip).sound.waveform
        kept = read_waveform(out / f"{clip.name}-true.mp4").mono()[: len(true)]
        assert np.corrcoef(true[: len(kept)], kept)[0, 1] > 0.9


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--clip", "hamer"), "clip 'hamer': expected one of hand-drums"),
        (("--height", "65"), "height 65: expected an even number"),
        (("--model", "{uncued}"), "takes no cues"),
        (("--out", "{other}"), "expected a gallery or no such file"),
    ],
)
def test_bad_settings_are_refused_and_write_nothing(tmp_path, arguments, message):
    pytest.importorskip("mujoco", reason="needs the extra 'physics' (mujoco)")
    other, out = tmp_path / "other", tmp_path / "out"
    other.mkdir()
    (other / "README.md").write_text("# Something else\n")
    uncued = tmp_path / "uncued"
    if "{uncued}" in arguments:
        make_model(uncued, with_cue_tracks=False)
    given = [argument.format(other=other, uncued=uncued) for argument in arguments]
    folder = () if "--out" in given else ("--out", out)
    assert message in check_refusal(run_cli("gallery", *folder, *given))
    assert not out.exists() or not list(out.iterdir())
    assert (other / "README.md").read_text() == "# Something else\n"
