"""The page of the gallery, in Markdown, from the results of `experiments.gallery.make_gallery`."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

PAGE_TITLE = "# Gallery"
COLUMNS = 100
NUMBERS = ("none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def gallery_page(report: Mapping[str, Any]) -> str:
    """The content of README.md."""
    clips = report["clips"]
    paragraphs = [
        PAGE_TITLE,
        _wrapped(
            f"{_number(len(clips)).capitalize()} silent {_plural(len(clips), 'clip')} of the "
            "simulation, each with the sound of the cues that the model finds in the video, and "
            "with the sound after a user has corrected these cues. Each picture also has the true "
            "sound of the simulation."
        ),
        _wrapped(
            "`foleyflow gallery --out FOLDER` makes this page and its pictures; `--media` also "
            f"writes the videos with their sounds and the cue sheets. {_weights_text(report)}"
        ),
        _wrapped(
            "The clips are not in the training data, but they are of the kind that the model was "
            "trained on; real footage is harder (`docs/results.md`). They were chosen for variety "
            "and a clear view, not by their results."
        ),
        "## How to read the pictures",
        "\n".join(
            _wrapped(f"- {text}", indent="  ")
            for text in (
                "*Cues*: a stem is a hit, as high as it is loud; a hatched area is a roll or "
                "scrape. Colours are materials. Faint cues are uncertain, therefore disabled, and "
                "make no sound.",
                "*Generated*: waveform and spectrogram of the sound of these cues. *True*: those "
                "of the sound of the simulation, with the noise of its room, which is never "
                "generated. Vertical lines are the hits of the cues.",
                "Correcting means: times, levels and materials of what really sounds are written "
                "into a cue sheet, and wrong cues are removed. Pitch, decay and the striking "
                "material are left to the model.",
            )
        ),
        "## Figures",
        _table(report),
        _wrapped(
            "*Material*: the main one of the clip. *Onset F1*: onsets of the generated sound "
            "within 50 ms of those of the true sound; rolls and scrapes have no clear ones. "
            "*Recognised as*: the material of the sound by a classifier, the judge; right ones are "
            "bold. It makes mistakes with true sounds, too."
        ),
        *(paragraph for clip in clips for paragraph in _clip_section(clip)),
    ]
    return "\n\n".join(paragraphs) + "\n"


def _weights_text(report: Mapping[str, Any]) -> str:
    model = Path(report["model"]).name
    weights = ", ".join(f"{name} `{digits}`" for name, digits in report["weights"].items())
    steps = f"{_number(report['steps'])} {_plural(report['steps'], 'step')}"
    return (
        f"This page is of the model `{model}` (first digits of the hashes: {weights}), with "
        f"{steps}, guidance {report['guidance']:g} and seed {report['seed']}."
    )


def _table(report: Mapping[str, Any]) -> str:
    rows = [
        (
            "clip",
            "material",
            "onset F1, cues found",
            "corrected",
            "recognised as, cues found",
            "corrected",
            "true sound",
        ),
        ("---",) * 7,
    ]
    for clip in report["clips"]:
        material = clip["material"]
        verdicts = [clip[stage]["verdict"] for stage in ("found", "corrected")]
        rows.append(
            (
                f"[{clip['title']}](#{clip['title'].lower().replace(' ', '-')})",
                material,
                *(f"{clip[stage]['onset_f1']:.2f}" for stage in ("found", "corrected")),
                *(
                    f"**{each}**" if each == material else each
                    for each in (*verdicts, clip["true_verdict"])
                ),
            )
        )
    found, corrected = report["mean"]["found"], report["mean"]["corrected"]
    right = [clip["true_verdict"] == clip["material"] for clip in report["clips"]]
    rows.append(
        (
            "all",
            "",
            f"{found['onset_f1']:.2f}",
            f"{corrected['onset_f1']:.2f}",
            f"{found['recognised']:.0%} right",
            f"{corrected['recognised']:.0%} right",
            f"{sum(right) / len(right):.0%} right",
        )
    )
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _clip_section(clip: Mapping[str, Any]) -> list[str]:
    """Heading, text and both pictures of a clip."""
    found, corrected = clip["found"], clip["corrected"]
    title = clip["title"]
    return [
        f"## {title}",
        _wrapped(
            f"{clip['scene']} Found: {found_text(clip['cues'])}. Corrected: "
            f"{corrected_text(clip['cues'])}. Onset F1 {found['onset_f1']:.2f} before and "
            f"{corrected['onset_f1']:.2f} after; recognised as {found['verdict']} before and "
            f"{corrected['verdict']} after."
        ),
        f"![{title}: the report of the cues found in the video]({found['picture']})",
        f"![{title}: the report of the corrected cues]({corrected['picture']})",
    ]


def found_text(cues: Mapping[str, int]) -> str:
    """What was found, from the counts of `gallery.compare_cues`."""
    parts = []
    if cues["hits"]:
        parts.append(f"{_number(cues['hits_found'])} of {_number(cues['hits'])} hits")
        if cues["hits_found"]:
            parts[-1] += f", {_number(cues['materials'])} with the right material"
    if cues["frictions"]:
        parts.append(
            f"{_number(cues['frictions_found'])} of {_number(cues['frictions'])} "
            f"{_plural(cues['frictions'], 'roll or scrape')}"
        )
        if cues["frictions_found"]:
            parts[-1] += f", {_number(cues['friction_materials'])} with the right material"
    false = cues["false_hits"] + cues["false_frictions"]
    if false:
        parts.append(f"{_number(false)} {_plural(false, 'cue')} where nothing sounds")
    return _listed(parts)


def corrected_text(cues: Mapping[str, int]) -> str:
    """What a user had to correct, from the same counts."""
    false = cues["false_hits"] + cues["false_frictions"]
    missing_hits = cues["hits"] - cues["hits_found"]
    missing_frictions = cues["frictions"] - cues["frictions_found"]
    wrong = cues["hits_found"] - cues["materials"]
    wrong += cues["frictions_found"] - cues["friction_materials"]
    parts = [
        f"{_number(count)} {_plural(count, noun)} {verb}"
        for count, noun, verb in (
            (missing_hits, "hit", "added"),
            (missing_frictions, "roll or scrape", "added"),
            (false, "cue", "removed"),
            (wrong, "material", "changed"),
        )
        if count
    ]
    return _listed([*parts, "all times and levels set"])


def _number(count: int) -> str:
    """A number in a sentence: up to ten as a word."""
    return NUMBERS[count] if count < len(NUMBERS) else str(count)


def _plural(count: int, noun: str) -> str:
    return noun if count == 1 else " or ".join(f"{word}s" for word in noun.split(" or "))


def _listed(parts: Sequence[str]) -> str:
    """Such as "a; b and c"."""
    return "; ".join(parts)


def _wrapped(text: str, indent: str = "") -> str:
    return textwrap.fill(
        text,
        COLUMNS,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
