"""The history of a project: undo without limit, and nothing lost when the process is killed."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from foleyflow.cues.cue import Cue
from foleyflow.errors import ConfigError, DataError
from foleyflow.studio.history import EDIT, History
from foleyflow.studio.identified_cues import changed_by, replaced_by, sheet_of, with_ids
from foleyflow.studio.problems import NotNow

MATERIALS = ("wood", "metal")
FIRST = {"c1": Cue(time_s=0.5), "c2": Cue(time_s=1.0, kind="scrape", end_s=1.5)}


def started(path: Path) -> History:
    history = History(path)
    history.append(FIRST, label="Find", operation={"kind": "generate"}, is_start=True)
    return history


def state_of(history: History) -> tuple:
    return (
        history.revision,
        history.node,
        history.cues,
        history.undo_label,
        history.redo_label,
        history.next_id,
    )


def test_undo_and_redo_go_through_all_states(tmp_path):
    history = started(tmp_path / "history.jsonl")
    states = [dict(history.cues)]
    for index in range(200):
        cues = {**history.cues, f"c{index + 3}": Cue(time_s=2.0 + index / 100)}
        history.append(cues, label=f"Add {index}", operation=EDIT)
        states.append(dict(history.cues))
    for state in states[-2::-1]:
        history.undo()
        assert history.cues == state
    with pytest.raises(NotNow):
        history.undo()  # the start can't be undone
    for state in states[1:]:
        history.redo()
        assert history.cues == state
    with pytest.raises(NotNow):
        history.redo()


def test_a_random_sequence_is_read_back_after_every_step(tmp_path):
    path, rng = tmp_path / "history.jsonl", random.Random(5)
    history = started(path)
    for step in range(120):
        kind = rng.choice(["edit", "edit", "undo", "redo"])
        try:
            if kind == "edit":
                cues = dict(history.cues)
                name = rng.choice(sorted(cues)) if cues else "c1"
                cues[name] = Cue(time_s=round(rng.uniform(0, 9), 4), confidence=0.25)
                if rng.random() < 0.3:
                    cues.pop(name)
                history.append(cues, label=f"Step {step}", operation=EDIT)
            else:
                getattr(history, kind)()
        except NotNow:
            continue
        again = History(path)
        assert state_of(again) == state_of(history)
        assert again.cues_at(1) == FIRST
        assert again.cues_at(again.node) == history.cues


def test_a_line_that_was_not_completed_is_ignored_and_replaced(tmp_path):
    path = tmp_path / "history.jsonl"
    history = started(path)
    complete = path.read_bytes()
    history.append({}, label="Delete all", operation=EDIT)
    line = path.read_bytes()[len(complete) :]
    for length in (1, len(line) // 2, len(line) - 1):
        path.write_bytes(complete + line[:length])
        again = History(path)
        assert again.cues == FIRST and again.revision == 1
        again.append({"c1": FIRST["c1"]}, label="Delete one", operation=EDIT)
        assert History(path).cues == {"c1": FIRST["c1"]}


@pytest.mark.parametrize("damage", [b"{\n", b'{"label": 1}\n', b'{"to": 7}\n', b"[]\n"])
def test_a_damaged_file_is_an_error_that_names_the_line(tmp_path, damage):
    path = tmp_path / "history.jsonl"
    path.write_bytes(damage)
    with pytest.raises(DataError, match="line 1"):
        History(path)


def test_changes_are_applied_in_order_and_new_cues_get_new_ids():
    changes = [
        {"id": "c1", "set": {"time_s": 0.75, "material": "metal", "level_db": -3}},
        {"remove": "c2"},
        {"add": {"time_s": 2.0}},
        {"add": {"time_s": 3.0, "kind": "roll", "end_s": 4.0}},
        {"id": "c1", "set": {"level_db": None}},
        {"id": "c1", "another_take": True},
    ]
    cues = changed_by(FIRST, changes, number=9, materials=MATERIALS)
    assert set(cues) == {"c1", "c9", "c10"}
    assert cues["c1"].time_s == 0.75 and cues["c1"].material == "metal"
    assert cues["c1"].level_db is None and cues["c1"].seed is not None
    assert len(sheet_of(cues, 5.0)) == 3
    assert FIRST["c1"].time_s == 0.5  # unchanged


def test_a_friction_that_becomes_a_hit_loses_its_end():
    cues = changed_by(FIRST, [{"id": "c2", "set": {"kind": "hit"}}], number=3, materials=MATERIALS)
    assert cues["c2"] == Cue(time_s=1.0)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"id": "c7", "set": {"time_s": 1}}, "change 1: there is no cue"),
        ({"remove": ["c1"]}, "there is no cue"),
        ({"id": "c1", "set": {"tme_s": 1}}, "unknown field"),
        ({"id": "c1", "set": {"material": "wod"}}, "expected one of wood, metal"),
        ({"id": "c1", "set": {"time_s": None}}, "time_s is missing"),
        ({"id": "c1", "set": 3}, "expected the fields"),
        ({"id": "c1", "another_take": 1}, "expected true"),
        ({"id": "c1"}, "expected an id with"),
        ({"remove": "c1", "add": {"time_s": 1}}, "expected an id with"),
        ({"add": {"time_s": float("nan")}}, "finite"),
        ({"drop": "c1"}, "unknown key"),
    ],
)
def test_changes_that_are_not_valid_are_refused(change, match):
    with pytest.raises(ConfigError, match=match):
        changed_by(FIRST, [change], number=3, materials=MATERIALS)


def test_replaced_cues_keep_known_ids():
    fields = [{"time_s": 3.0}, {"id": "c2", "time_s": 0.25}]
    cues = replaced_by(FIRST, fields, number=5, materials=MATERIALS)
    assert cues == {"c5": Cue(time_s=3.0), "c2": Cue(time_s=0.25)}
    for wrong in ([{"id": "c9", "time_s": 1.0}], [fields[1], fields[1]]):
        with pytest.raises(ConfigError):
            replaced_by(FIRST, wrong, number=5, materials=MATERIALS)


def test_found_cues_keep_the_ids_of_cues_at_the_same_place():
    sheet = [Cue(time_s=0.5, material="wood"), Cue(time_s=0.7)]
    assert with_ids(sheet, FIRST, number=3) == {"c1": sheet[0], "c3": sheet[1]}
