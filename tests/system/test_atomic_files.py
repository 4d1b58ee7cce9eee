"""Files appear complete or not at all, for every file name, and no draft is left."""

import os
import subprocess
import sys

import pytest

from foleyflow.system.atomic_files import draft_of, draft_prefix

LONGEST = ("日" * 84 + "n.t", "é" * 126 + "x.y"[:3], "a" * 255, os.fsdecode(b"\xe9" * 255))


@pytest.mark.parametrize("name", [*LONGEST, "x"])
@pytest.mark.parametrize("one_writer", [False, True])
def test_every_valid_file_name(tmp_path, name, one_writer):
    path = tmp_path / name
    path.touch()  # the name is valid
    with draft_of(path, one_writer=one_writer) as draft:
        assert len(os.fsencode(draft.name)) <= 143
        draft.write_text("new")
        assert path.read_text() == ""
    assert os.listdir(tmp_path) == [name]
    assert path.read_text() == "new"


def test_a_long_name_is_cut_between_characters(tmp_path):
    prefix = draft_prefix(tmp_path / ("日" * 80))
    assert os.fsencode(prefix).decode().startswith(".日日")


def test_long_names_with_the_same_beginning_have_different_drafts(tmp_path):
    assert draft_prefix(tmp_path / ("a" * 200 + "1")) != draft_prefix(tmp_path / ("a" * 200 + "2"))


@pytest.mark.parametrize("name", LONGEST)
def test_drafts_of_killed_processes_are_removed(tmp_path, name):
    path = tmp_path / name
    code = (
        "import os, sys; from pathlib import Path\n"
        "from foleyflow.system.atomic_files import draft_of\n"
        "with draft_of(Path(os.fsdecode(sys.stdin.buffer.read()))) as draft:\n"
        "    draft.touch(); os._exit(1)"
    )
    subprocess.run([sys.executable, "-c", code], input=os.fsencode(path), timeout=60)
    (left,) = tmp_path.iterdir()
    assert left.name.endswith(".part")
    with draft_of(path) as draft:
        assert not left.exists()
        draft.touch()
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt])
def test_an_exception_keeps_the_old_file(tmp_path, kind):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(kind), draft_of(path) as draft:
        draft.write_text("half")
        raise kind
    assert os.listdir(tmp_path) == ["a.txt"]
    assert path.read_text() == "old"


@pytest.mark.parametrize("exists", [True, False])
def test_the_target_of_a_link_is_written(tmp_path, exists):
    (tmp_path / "real").mkdir()
    target = tmp_path / "real" / "target.txt"
    if exists:
        target.write_text("old")
    link = tmp_path / "link.txt"
    link.symlink_to("real/target.txt")
    with draft_of(link) as draft:
        assert draft.parent == target.parent
        draft.write_text("new")
    assert link.is_symlink()
    assert target.read_text() == "new"
    assert os.listdir(target.parent) == ["target.txt"]
