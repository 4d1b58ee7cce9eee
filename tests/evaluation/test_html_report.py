"""The HTML page of a report is self-contained and has all figures of the report."""

from __future__ import annotations

import base64
import io
import wave
from html.parser import HTMLParser

import numpy as np
import pytest
import soundfile
from support.click_sounds import write_sound
from support.random_judge import RandomJudge

from foleyflow.evaluation.folder import evaluate_folder, evaluate_systems
from foleyflow.evaluation.html_report import page_text
from foleyflow.evaluation.report import Report

pytest.importorskip("librosa")

RATE_HZ = 16000


class Page(HTMLParser):
    """Parses the texts, sources and tags of a page and checks that all tags are closed."""

    VOID = frozenset({"meta", "img"})

    def __init__(self, text):
        super().__init__()
        self.open, self.sources, self.tags, self.texts, self.links = [], [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        for name, value in attributes:
            if name == "src":
                self.sources.append((tag, value))
            if name in ("href", "srcset", "action", "data", "poster", "background"):
                self.links.append(value)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "title"):
            self.texts.append(data.strip())

    @property
    def text(self):
        return "\n".join(text for text in self.texts if text)

    def data(self, tag, kind):
        head = f"data:{kind};base64,"
        values = [value for name, value in self.sources if name == tag]
        assert all(value.startswith(head) for value in values)
        return [base64.b64decode(value.removeprefix(head), validate=True) for value in values]


def sound(index=0, *, seconds=1.5):
    rng = np.random.default_rng(index)
    samples = 0.01 * rng.uniform(-1, 1, round(seconds * RATE_HZ))
    start = 4000 + 1500 * index
    samples[start : start + 400] += np.hanning(400) * rng.uniform(-0.6, 0.6, 400)
    return samples


def systems(root, *, cases=("a", "b", "c"), names=("gt", "first", "second")):
    for index, case in enumerate(cases):
        for name in names:
            write_sound(root / case / f"{name}.wav", sound(index), RATE_HZ, subtype="PCM_16")
    return root


def test_the_page_is_self_contained(tmp_path):
    reports = evaluate_systems(systems(tmp_path), metrics=["onset_f1", "envelope_correlation"])
    text = page_text(reports, title="peers")
    page = Page(text)
    assert page.links == []
    assert "://" not in text and "@import" not in text and "url(" not in text
    assert not {"script", "link", "iframe"} & set(page.tags)
    for image in page.data("img", "image/png"):
        assert image.startswith(b"\x89PNG\r\n\x1a\n")
    # Lags, bars of two metrics, and for each of three clips the true sound and two systems.
    assert len(page.data("img", "image/png")) == 1 + 2 + 9
    assert len(page.data("audio", "audio/wav")) == 9


def test_the_audio_players_contain_the_sounds(tmp_path):
    reports = evaluate_systems(systems(tmp_path))
    first, *_ = Page(page_text(reports, title="x", clips=1)).data("audio", "audio/wav")
    with wave.open(io.BytesIO(first)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, RATE_HZ)
        levels = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    # Rounding of the file and of the page, and full scale at 32768 versus 32767.
    assert levels / 32767 == pytest.approx(sound(0), abs=2.01 / 32767)


def test_tables_contain_all_figures_of_the_report(tmp_path):
    root = systems(tmp_path)
    soundfile.write(root / "a" / "second.wav", np.zeros(round(1.5 * RATE_HZ)), RATE_HZ)
    names, judges = ["onset_f1", "frechet_passt"], {"passt": RandomJudge()}
    reports = evaluate_systems(root, metrics=names, judges=judges)
    text = Page(page_text(reports, title="Two systems")).text
    for system, report in reports.items():
        assert system in text
        for name, score in report.scores.items():
            assert name in text
            for figure in score.figures.values():
                assert f"{figure.value:.3f}" in text
    assert "Two systems" in text
    assert "second: silent (scored): 1" in text
    assert RandomJudge().weights_sha256 in text
    assert "no interval" in text


def test_a_control_as_good_as_the_system_is_flagged(tmp_path):
    root = systems(tmp_path)
    for case in "abc":
        soundfile.write(root / case / "second.wav", np.zeros(24000), RATE_HZ)
    text = Page(page_text(evaluate_systems(root, metrics=["onset_f1"]), title="x")).text
    assert "silence is as good or better, so the figure proves nothing about: second\n" in text


def test_special_characters_in_names_are_escaped(tmp_path):
    hostile = '<b>&"$x'
    root = systems(tmp_path, cases=(hostile, "b"), names=("gt", "日本$_<i>"))
    page = Page(page_text(evaluate_systems(root, metrics=["onset_f1"]), title=hostile))
    assert not {"b", "i"} & set(page.tags)
    assert hostile in page.text and "日本$_<i>" in page.text


def test_only_the_first_clips_are_shown_with_a_note(tmp_path):
    reports = evaluate_systems(systems(tmp_path), metrics=["onset_f1"])
    page = Page(page_text(reports, title="x", clips=2))
    assert len(page.data("audio", "audio/wav")) == 2 * 3
    assert "the first 2 of 3 clips" in page.text
    assert Page(page_text(reports, title="x", clips=0)).data("audio", "audio/wav") == []


def test_an_empty_report_gives_a_page(tmp_path):
    text = Page(page_text({"generated": Report(synchrony=None)}, title="empty")).text
    assert "nothing to score" in text


def test_with_event_references_only_generated_sounds_have_players(tmp_path):
    write_sound(tmp_path / "generated/a.wav", sound(0), RATE_HZ)
    (tmp_path / "true").mkdir()
    (tmp_path / "true/a.json").write_text('{"events": [{"time_s": 0.25}]}')
    report = evaluate_folder(tmp_path / "generated", tmp_path / "true", metrics=["onset_f1"])
    page = Page(page_text({"generated": report}, title="x"))
    assert len(page.data("audio", "audio/wav")) == 1


def test_a_sound_that_became_unreadable_is_noted(tmp_path):
    root = systems(tmp_path)
    reports = evaluate_systems(root)
    (root / "a" / "first.wav").write_text("no sound any more")
    page = Page(page_text(reports, title="x"))
    assert len(page.data("audio", "audio/wav")) == 8
    assert "first.wav" in page.text
