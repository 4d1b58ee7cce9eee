"""A process that runs `foleyflow generate` on one mutant after the other.

It reads one JSON object per line from stdin, `{"case": "mp4:17", "folder": ...}`, and writes one
per line to stdout: `{"stage": "ready"}` at the start; then for each case `{"stage": "played",
"span_s"}` after decoding the input, `{"stage": "ran"}` after the command, and `{"stage": "done",
"kind", "why", "changes", "stderr"}` after comparing its result. After a crash, the last line shows
which stage failed.

    python -m foleyflow.experiments.robustness.worker CORPUS SEED PRODUCT

CORPUS is the folder of `corpus.write_seed_clips`. PRODUCT is the module:function to run, or a class
whose instances are called; it takes the arguments of `foleyflow` and exits in the same way.
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
    """The command line of foleyflow with the embedded model, which is loaded once.

    Loading the weights and building the parser take longer than processing a short clip; everything
    else happens for each call as in a new process.
    """

    def __init__(self) -> None:
        from foleyflow.cli.app import app
        from foleyflow.inference.pipeline import FoleyFlow

        self._command = typer.main.get_command(app)
        loaded = FoleyFlow.from_pretrained(device="cpu")
        setattr(FoleyFlow, "from_pretrained", lambda *_, **__: loaded)  # noqa: B010

    def __call__(self, arguments: Sequence[str]) -> object:
        """Run a command; raises SystemExit at the end, like the console script."""
        return self._command(list(arguments), prog_name="foleyflow")


def run_product(product: Product, arguments: Sequence[str]) -> Run:
    """Call the command as the console script does, and capture its output."""
    logging.root.handlers.clear()  # the command adds its own, as in a new process
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
    """Run cases from stdin until it ends."""
    corpus_folder, seed, product_name = arguments
    faulthandler.enable()
    # Text that libraries print must not mix with the replies
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    corpus = Corpus(Path(corpus_folder), seed=int(seed))
    module, _, function = product_name.partition(":")
    loaded = getattr(importlib.import_module(module), function)
    product: Product = loaded() if isinstance(loaded, type) else loaded

    def reply(**values: Any) -> None:
        replies.write(json.dumps(values) + "\n")

    reply(stage="ready")
    for line in sys.stdin:
        request = json.loads(line)
        case, folder = Case.named(request["case"]), Path(request["folder"])
        mutant = corpus.mutant(case)
        source = folder / f"clip{mutant.suffix}"
        source.write_bytes(mutant.data)
        output = folder / f"clip.foley{mutant.suffix}"
        before = playback_of(source, with_sound=False)
        reply(stage="played", span_s=0.0 if before is None else before.span_s)
        run = run_product(product, ["generate", str(source), "-o", str(output), "--json"])
        reply(stage="ran")
        verdict = judge(run, source=source, original=mutant.data, before=before, output=output)
        reply(
            stage="done",
            kind=verdict.kind,
            why=verdict.why.replace(f"{folder}{os.sep}", ""),
            changes=mutant.changes,
            stderr=run.stderr[-4000:] if verdict.kind not in ("right", "refused") else "",
        )


if __name__ == "__main__":
    main(sys.argv[1:])
