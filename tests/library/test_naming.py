"""Materials and kinds come from the names of folders and files."""

from __future__ import annotations

import pytest

from foleyflow.library.naming import DEFAULT_MATERIALS, SYNONYMS, Label, Vocabulary, words_of
from foleyflow.simulation.materials import MATERIAL_NAMES


@pytest.mark.parametrize(
    ("file", "material", "kind"),
    [
        ("wood/01.wav", "wood", "hit"),
        ("WOOD_hit_03.WAV", "wood", "hit"),
        ("WoodenBox2.flac", "wood", "hit"),
        ("METALHit.wav", "metal", "hit"),
        ("steel-plate 4.aiff", "metal", "hit"),
        ("Glasses/clink.mp3", "glass", "hit"),
        ("rocks.wav", "stone", "hit"),
        ("Stone Scrapes/a.wav", "stone", "scrape"),
        ("wood/rolls/a.wav", "wood", "roll"),
        ("ball_rolling_on_plastic.ogg", "plastic", "roll"),
        ("metal_scratches-2.wav", "metal", "scrape"),
        # The innermost clear folder decides, then outer ones, then the file
        ("metal/wood/hit.wav", "wood", "hit"),
        ("metal/bowls/wood_stick.wav", "metal", "hit"),
        ("wood and glass/glass_1.wav", "glass", "hit"),
        ("wood/scrape/roll.wav", "wood", "scrape"),
        # Parts of other words are not materials
        ("glassy hardwood woodland/ceramics.wav", "ceramic", "hit"),
    ],
)
def test_names_give_material_and_kind(file, material, kind):
    assert Vocabulary().label(file) == Label(material=material, kind=kind)


@pytest.mark.parametrize(
    ("file", "suggestions"),
    [
        ("wod_hit.wav", ("wood",)),
        ("Mettal/glas.wav", ("glass", "metal")),
        ("woodhit1.wav", ("wood",)),
        ("kick.wav", ()),
        ("123.wav", ()),
        ("голос.wav", ()),
    ],
)
def test_unknown_names_have_suggestions(file, suggestions):
    label = Vocabulary().label(file)
    assert (label.material, label.suggestions, label.ambiguous) == (None, suggestions, ())


def test_two_materials_without_a_folder_are_ambiguous():
    label = Vocabulary().label("wood stick on metal.wav")
    assert label == Label(material=None, kind="hit", ambiguous=("wood", "metal"))


def test_a_longer_phrase_wins():
    vocabulary = Vocabulary(("metal", "sheet metal"))
    assert vocabulary.label("SheetMetal_1.wav").material == "sheet metal"
    assert vocabulary.label("steel sheet.wav").material == "metal"


def test_decomposed_letters_are_composed():
    assert words_of("Bu\u0308chse_2Hits") == ["büchse", "hits"]


def test_default_materials_are_those_of_the_simulation():
    assert DEFAULT_MATERIALS == MATERIAL_NAMES


def test_no_word_means_two_materials():
    words = [word for synonyms in SYNONYMS.values() for word in synonyms] + list(SYNONYMS)
    assert len(set(words)) == len(words)
