"""A process that runs `foleyflow generate` on one mutant after the other.

Reads one JSON object a line on stdin, `{"case": "mp4:17", "folder": ...}`, and answers with one a
line on stdout: `{"stage": "ready"}` once at the beginning, then for each case `{"stage": "played",
"span_s"}` when the input has been played, `{"stage": "ran"}` when the command has ended, and
`{"stage": "done", "kind", "why", "changes", "stderr"}` when its result has been compared. Whoever
reads them knows by the last line what a dead process was at.

    python -m foleyflow.experiments.robustness.worker CORPUS SEED PRODUCT MODEL

CORPUS is the folder of `corpus.write_seed_clips`, PRODUCT is module:function of what is run, which
takes the arguments of `foleyflow` and exits as it does.
"""

from __future__ import annotations

import contextlib
import faulthandler
import importlib
import io
import json
import logging
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import typer

from foleyflow.experiments.robustness.cases import Case, Corpus
from foleyflow.experiments.robustness.playback import playback_of
from foleyflow.experiments.robustness.verdict import Run, judge

Product = Callable[[Sequence[str]], object]


class WarmFoleyflow:
    """The command line of foleyflow with a model that is loaded once.

    Loading the weights and building the parser take longer than a short clip does; all else
    happens for each call as in a fresh process.
    """

    def __init__(self, model: str) -> None:
        from foleyflow.cli.app import app
        from foleyflow.inference.pipeline import FoleyFlow

        self._command = typer.main.get_command(app)
        loaded = FoleyFlow.from_pretrained(model, device="cpu")
        setattr(FoleyFlow, "from_pretrained", lambda *_, **__: loaded)  # noqa: B010
        self._model = model

    def __call__(self, arguments: Sequence[str]) -> object:
        """Run a command; ends with SystemExit, as the console script does."""
        return self._command([*arguments, "--model", self._model], prog_name="foleyflow")


def run_product(product: Product, arguments: Sequence[str]) -> Run:
    """Call the command as the console script does, with its output captured.

    Args:
        product: what is called.
        arguments: of the command.

    Returns:
        How it ended.
    """
    logging.root.handlers.clear()  # the command makes its own, as in a fresh process
    out, err = io.StringIO(), io.StringIO()
    status: int | None = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            product(arguments)
        except SystemExit as ending:
            status = ending.code if isinstance(ending.code, int) else int(ending.code is not None)
        except Exception:
            status = None
            err.write(traceback.format_exc())
    return Run(status=status, stdout=out.getvalue(), stderr=err.getvalue())


def main(arguments: Sequence[str]) -> None:
    """Take cases from stdin until it ends."""
    corpus_folder, seed, product_name, model = arguments
    faulthandler.enable()
    # Libraries that print must not disturb the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    corpus = Corpus.of_folder(Path(corpus_folder), seed=int(seed))
    module, _, function = product_name.partition(":")
    made = getattr(importlib.import_module(module), function)
    product: Product = made(model) if isinstance(made, type) else made

    def answer(**values: Any) -> None:
        answers.write(json.dumps(values) + "\n")

    answer(stage="ready")
    for line in sys.stdin:
        wanted = json.loads(line)
        case, folder = Case.named(wanted["case"]), Path(wanted["folder"])
        mutant = corpus.mutant(case)
        source = folder / f"clip{mutant.suffix}"
        source.write_bytes(mutant.data)
        output = folder / f"clip.foley{mutant.suffix}"
        before = playback_of(source, with_sound=False)
        answer(stage="played", span_s=0.0 if before is None else before.span_s)
        run = run_product(product, ["generate", str(source), "-o", str(output), "--json"])
        answer(stage="ran")
        verdict = judge(run, source=source, original=mutant.data, before=before, output=output)
        answer(
            stage="done",
            kind=verdict.kind,
            why=verdict.why.replace(f"{folder}{os.sep}", ""),
            changes=mutant.changes,
            stderr=run.stderr[-4000:] if verdict.kind not in ("right", "refused") else "",
        )


if __name__ == "__main__":
    main(sys.argv[1:])
