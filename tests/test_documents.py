"""Documents and prose: line length, plain words, links that lead somewhere, and known limits."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TRACKED = subprocess.run(
    ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=True,
).stdout.splitlines()
DOCUMENTS = [name for name in TRACKED if name.endswith(".md") and (ROOT / name).exists()]
SOURCES = [name for name in TRACKED if name.endswith(".py") and (ROOT / name).exists()]
COLUMNS = 100
LONGEST_DOCUMENTS = {"README.md": 120, "docs/architecture.md": 100, "docs/results.md": 150}
# Words that this project's style avoids: they made sentences hard to read.
AVOIDED = re.compile(r"\b(told|anew|heard|mend|beside)\b", re.IGNORECASE)
CODE = re.compile(r"`[^`]*`")
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


def long_lines(text: str) -> list[int]:
    """Numbers of lines beyond the limit; a table row or a line that is one link cannot wrap."""
    return [
        number
        for number, line in enumerate(text.splitlines(), start=1)
        if len(line) > COLUMNS and not line.startswith("|") and "](" not in line
    ]


def test_documents_are_found():
    assert set(LONGEST_DOCUMENTS) | {"docs/method.md", "docs/extending.md"} <= set(DOCUMENTS)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_lines_of_documents_wrap(name):
    assert not long_lines((ROOT / name).read_text("utf-8"))


def test_the_check_of_line_length_finds_long_lines():
    assert long_lines(f"short\n{'long ' * 21}\n") == [2]


@pytest.mark.parametrize(("name", "lines"), LONGEST_DOCUMENTS.items())
def test_documents_stay_short(name, lines):
    assert len((ROOT / name).read_text("utf-8").splitlines()) <= lines


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_between_documents_lead_to_files(name):
    folder = (ROOT / name).parent
    targets = [link for link in LINK.findall((ROOT / name).read_text("utf-8")) if ":" not in link]
    assert not [target for target in targets if not (folder / target).exists()]


def test_avoided_words_are_not_used():
    wrong = []
    # This file has to name the words, and the migration has to name old tensors.
    exceptions = {"tests/test_documents.py", "foleyflow/weights_migration.py"}
    for name in {*DOCUMENTS, *SOURCES} - exceptions:
        text = (ROOT / name).read_text("utf-8")
        # The changelog has to name old keys and files.
        lines = (CODE.sub("", text) if name == "CHANGELOG.md" else text).splitlines()
        wrong += [
            f"{name}:{number}: {line.strip()}"
            for number, line in enumerate(lines, start=1)
            if AVOIDED.search(line)
        ]
    assert not wrong, "\n".join(wrong)


def test_docstrings_wrap():
    wrong = []
    for name in SOURCES:
        for node in ast.walk(ast.parse((ROOT / name).read_text("utf-8"))):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                text = ast.get_docstring(node, clean=False) or ""
                wrong += [f"{name}: {line}" for line in text.splitlines() if len(line) > COLUMNS]
    assert not wrong


def test_files_that_the_architecture_page_names_exist():
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    named = set(re.findall(r"`([a-z_]+(?:/[a-z_]*)+(?:\.py)?)`", text))
    assert len(named) > 25
    missing = [
        name
        for name in named
        if not ((ROOT / "foleyflow" / name).exists() or (ROOT / name).exists())
    ]
    assert not missing
