"""REAPER projects, read back by the package rpp."""

from __future__ import annotations

from fractions import Fraction

import pytest
import rpp

from foleyflow.delivery import Stem, write_reaper_project
from foleyflow.errors import MediaError
from foleyflow.signals import Marker

MARKERS = (
    Marker(time_s=2.0, end_s=3.5, name="scrape 'wood'"),
    Marker(time_s=0.25, name='hit "metal"'),
)


def written(folder, **settings):
    settings = {
        "video": folder / "film.mp4",
        "duration_s": 10.04,
        "stems": [
            Stem(path=folder / "stems" / "film wood.wav", name="wood"),
            Stem(path=folder / "stems" / "film metal.flac", name="metal"),
        ],
        "markers": MARKERS,
        "rate_hz": 48_000,
    } | settings
    path = write_reaper_project(folder / "film.rpp", overwrite=True, **settings)
    return rpp.loads(path.read_text("utf-8"))


def test_video_and_stems_are_tracks(tmp_path):
    project = written(tmp_path)
    assert project.tag == "REAPER_PROJECT"
    found = []
    for track in project.findall("TRACK"):
        (item,) = track.findall("ITEM")
        (source,) = item.findall("SOURCE")
        assert item.find("POSITION")[1] == "0"
        assert float(item.find("LENGTH")[1]) == 10.04
        found.append((track.find("NAME")[1], source.attrib[0], source.find("FILE")[1]))
    assert found == [
        ("Video", "VIDEO", "film.mp4"),
        ("wood", "WAVE", "stems/film wood.wav"),
        ("metal", "FLAC", "stems/film metal.flac"),
    ]
    assert project.find("SAMPLERATE")[1] == "48000"


def test_stems_begin_where_they_sound(tmp_path):
    stems = [
        Stem(path=tmp_path / "a.wav", name="a", start_s=1 / 48_000, duration_s=0.5),
        Stem(path=tmp_path / "b.wav", name="b", start_s=3.25),
    ]
    places = []
    for track in written(tmp_path, stems=stems).findall("TRACK"):
        item = track.find("ITEM")
        places.append(tuple(float(item.find(name)[1]) for name in ("POSITION", "LENGTH")))
    assert places[0] == (0.0, 10.04) and places[2] == (3.25, 10.04)
    assert places[1] == pytest.approx((1 / 48_000, 0.5), abs=1e-9)


def test_cues_are_markers_and_regions(tmp_path):
    markers = [line[1:] for line in written(tmp_path).findall("MARKER")]
    assert [(int(m[0]), float(m[1]), m[2], m[3]) for m in markers] == [
        (1, 0.25, 'hit "metal"', "0"),
        (2, 2.0, "scrape 'wood'", "1"),
        (2, 3.5, "", "1"),
    ]


@pytest.mark.parametrize(
    ("frame_rate", "drops", "base", "kind"),
    [
        (None, False, "30", "0"),
        (Fraction(25), False, "25", "0"),
        (Fraction(24_000, 1_001), False, "24", "2"),
        (Fraction(30_000, 1_001), True, "30", "1"),
    ],
)
def test_the_ruler_shows_the_time_code(tmp_path, frame_rate, drops, base, kind):
    project = written(tmp_path, frame_rate=frame_rate, drops_frames=drops, start_s=36_000.04)
    assert project.find("TIMEMODE")[4:6] == [base, kind]
    assert float(project.find("PROJOFFS")[1]) == 36_000.04


@pytest.mark.parametrize(("audible", "volume"), [(False, 0.0), (True, 1.0)])
def test_the_sound_of_the_video_is_off_unless_wanted(tmp_path, audible, volume):
    tracks = written(tmp_path, original_is_audible=audible).findall("TRACK")
    assert [float(track.find("VOLPAN")[1]) for track in tracks] == [volume, 1.0, 1.0]


def test_files_in_other_folders_and_names_with_quotes(tmp_path):
    (tmp_path / "a").mkdir()
    names = ["plain", "two words", "it's", 'so "called"', "`both` \" '", "line\nbreak", ""]
    stems = [Stem(path=tmp_path / "b" / "x.wav", name=name) for name in names]
    project = written(tmp_path / "a", video=tmp_path / "film.mp4", stems=stems)
    tracks = project.findall("TRACK")
    assert tracks[0].find("ITEM").find("SOURCE").find("FILE")[1] == "../film.mp4"
    read = [track.find("NAME")[1] for track in tracks[1:]]
    assert read == [*names[:4], "'both' \" '", "line break", ""]
    assert len({track.attrib[0] for track in tracks}) == len(names) + 1


def test_the_same_project_has_the_same_bytes(tmp_path):
    texts = []
    for _ in range(2):
        written(tmp_path)
        texts.append((tmp_path / "film.rpp").read_bytes())
    assert texts[0] == texts[1]


def test_what_cannot_be_written_is_refused(tmp_path):
    with pytest.raises(MediaError, match=r"no kind of sound is known by the suffix '\.xyz'"):
        written(tmp_path, stems=[Stem(path=tmp_path / "a.xyz", name="a")])
    settings = {"video": "a.mp4", "duration_s": 1.0, "stems": [], "rate_hz": 48_000}
    with pytest.raises(MediaError, match="does not fit a REAPER project"):
        write_reaper_project(tmp_path / "a.txt", **settings)
    written(tmp_path)
    with pytest.raises(MediaError, match="already exists"):
        write_reaper_project(tmp_path / "film.rpp", **settings)
