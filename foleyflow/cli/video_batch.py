"""What the commands that work on several videos share: checks, the plan, and printed outcomes."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from foleyflow.cli.console import (
    logged_warnings,
    partial_result,
    print_error,
    print_result,
    print_status,
    progress_on_stderr,
)
from foleyflow.cli.output_names import is_template, output_names
from foleyflow.cli.standard_input import spooled_standard_input
from foleyflow.errors import FoleyflowError, UsageError
from foleyflow.system.printable import printable

if TYPE_CHECKING:
    from foleyflow.inference.batch import Work
    from foleyflow.inference.request import BatchRequest

# Text, not paths: an empty name would become the current folder.
VideoNames = Annotated[
    list[str] | None,
    Argument(metavar="VIDEO", help="Video files; - reads one from standard input."),
]
FilesFrom = Annotated[
    str | None,
    Option(
        metavar="FILE",
        help="Read the names of the videos from this file, one per line or separated by NUL; - is "
        "standard input.",
    ),
]
Overwrite = Annotated[bool, Option("--overwrite", help="Replace existing outputs.")]
WeightsFolder = Annotated[
    Path | None,
    Option(
        help="Folder of published encoders' weights, for models that use one. Default: "
        "~/.cache/foleyflow/encoders."
    ),
]
ModelThreads = Annotated[
    int,
    Option(
        min=0,
        help="CPU threads per operation; 0 chooses by the size of the model. The number may "
        "change the last bits of the result.",
    ),
]

Sensitivity = Annotated[
    float | None,
    Option(
        help="How many uncertain hits to use, above 0 and below 1; higher values find more hits. "
        "Default: 0.5.",
    ),
]


@dataclass(frozen=True, kw_only=True)
class VideoBatch:
    """One command's work on videos.

    Attributes:
        command: its name.
        videos: as the user gave them, in arguments or in a list.
        request: its settings.
        output_of: (video, request) -> output.
        work: see `inference.batch`.
        result_text: (description of a result, whether it is the only one) -> text to print.
        is_list: answer as for several videos, even if there is only one or none.
    """

    command: str
    videos: list[str]
    request: BatchRequest
    output_of: Callable[[Path, Any], Path]
    work: Work[Any]
    result_text: Callable[[dict[str, Any], bool], str]
    is_list: bool = False

    @property
    def many(self) -> bool:
        """Whether the answer is that of several videos."""
        return self.is_list or len(self.videos) > 1

    def check(self, *, ray: str | None = None) -> None:
        """Refuses an output or a use of standard input that can't work."""
        request, count = self.request, len(self.videos)
        if request.output == "":
            raise UsageError(
                "-o '': an empty name, expected a file or a folder",
                hint="check the shell variable that it came from, or leave -o out",
            )
        named = request.output is not None and request.folder is None
        if count > 1 and named and not is_template(request.output):
            raise UsageError(
                f"-o {request.output}: one file for {count} videos",
                hint="give a folder or a template, as in -o results/ or -o '{stem}.foley{suffix}'",
            )
        from foleyflow.inference.request import STANDARD_INPUT

        if STANDARD_INPUT not in self.videos:
            return
        if count > 1:
            raise UsageError(
                f"- (standard input) and {count - 1} more: expected standard input alone",
                hint=f"run `foleyflow {self.command} - -o NAME` for it, and another command for "
                "the files",
            )
        if not named or is_template(request.output):
            given = "no -o" if request.output is None else f"-o {request.output}"
            raise UsageError(
                f"- (standard input) with {given}: expected the name of the output file",
                hint=f"name the output, as in `foleyflow {self.command} - -o NAME`",
            )
        if ray is not None:
            raise UsageError(
                "- (standard input) with --ray: workers can't read it",
                hint="save it to a file first",
            )

    def print_plan(self, settings: dict[str, Any]) -> int:
        """Prints what `run` would do; returns the worst exit status."""
        outputs, errors = self._plan()
        if errors and not self.many:
            raise errors[self.videos[0]]
        plan: dict[str, Any] = {
            "plan": [self._planned(name, output) for name, output in outputs.items()],
            "settings": settings,
        }
        if errors:
            plan["errors"] = [_describe_failure(name, error) for name, error in errors.items()]
        print_result(plan, as_json=True, text="")
        return max((error.exit_status for error in errors.values()), default=0)

    def run(self, *, ray: str | None = None, as_json: bool, debug: bool) -> int:
        """Does the work, prints each outcome, and returns the worst exit status."""
        from foleyflow.inference.batch import Failure, Hooks, run_jobs
        from foleyflow.inference.outputs import check_outputs, created_folder
        from foleyflow.inference.request import STANDARD_INPUT, Job

        request, many = self.request, self.many
        if not self.videos and not as_json:
            print_status("foleyflow: the list has no names: nothing to do")
        outputs, refused = self._plan()
        spooled: contextlib.AbstractContextManager[Path | None] = contextlib.nullcontext()
        if STANDARD_INPUT in self.videos:  # checked before it is read, which may take long
            check_outputs(Path(STANDARD_INPUT), outputs[STANDARD_INPUT], request)
            spooled = spooled_standard_input()
        answer: dict[str, Any] = {"results": [], "errors": [], "skipped": []}
        status = 0
        folders = (
            {output.parent for output in outputs.values()} if self._names else {request.folder}
        )
        with (
            partial_result(answer if many else {}),
            spooled as spool,
            contextlib.ExitStack() as stack,
        ):
            for folder in folders:
                stack.enter_context(created_folder(folder))
            # Jobs for all videos whose output does not exist yet
            jobs: dict[str, Job[BatchRequest]] = {}
            for name, output in outputs.items():
                if many and os.path.exists(output) and not request.overwrite:
                    print_status(f"{printable(output)}: exists, skipped (--overwrite replaces it)")
                    answer["skipped"].append(str(output))
                else:
                    video = spool or Path(name)
                    jobs[name] = Job(name=name, video=video, output=output, request=request)
            # Outcomes in the order of the videos
            hooks = Hooks(progress=progress_on_stderr, logged_warnings=logged_warnings)
            outcomes = run_jobs(self.work, list(jobs.values()), hooks, ray=ray)
            # Closed explicitly: a Ray cluster redirects stdout until it closes.
            with contextlib.closing(outcomes):
                for name in self.videos:
                    if name in refused:
                        outcome: dict[str, Any] | Failure = Failure(error=refused[name])
                    elif name in jobs:
                        outcome = next(outcomes)
                    else:
                        continue
                    if isinstance(outcome, Failure):
                        described = _describe_failure(name, outcome.error, *outcome.warnings)
                        answer["errors"].append(described)
                        _print_warnings(name, outcome.warnings)
                        status = max(status, print_error(outcome.error, debug=debug))
                        continue
                    answer["results"].append(outcome)
                    if not as_json:
                        _print_warnings(name, outcome["warnings"])
                        text = self.result_text(outcome, not many)
                        print_result(None, as_json=False, text=text)
        if as_json:
            single = answer["results"] or answer["errors"]
            print_result(answer if many else single[0], as_json=True, text="")
        return status

    def _plan(self) -> tuple[dict[str, Path], dict[str, Any]]:
        from foleyflow.inference.outputs import plan_outputs

        return plan_outputs(self.videos, self._output, self._others)

    @functools.cached_property
    def _names(self) -> dict[Path, str]:
        """The names that a template gives; empty without one."""
        template = self.request.output
        if template is None or not is_template(template):
            return {}
        names = output_names(template, self.videos)
        return {Path(video): name for video, name in names.items()}

    def _output(self, video: Path) -> Path:
        request = self.request
        if self._names:
            request = dataclasses.replace(request, output=self._names[video])
        return self.output_of(video, request)

    def _others(self, output: Path) -> list[Path]:
        """The files and folders that are written next to an output."""
        return [*self.request.companions(output), *self.request.folders(output)]

    def _planned(self, name: str, output: Path) -> dict[str, Any]:
        others = [str(path) for path in self._others(output)]
        planned: dict[str, Any] = {"video": name, "output": str(output)}
        return planned | ({"other_files": others} if others else {})


def checked_sensitivity(sensitivity: float | None) -> float:
    """The sensitivity that a user gave, or its default."""
    from foleyflow.inference.sensitivity import DEFAULT_SENSITIVITY, check_sensitivity

    if sensitivity is None:
        return DEFAULT_SENSITIVITY
    check_sensitivity(sensitivity)
    return sensitivity


def as_argument(name: str) -> str:
    """A file name as an argument of a command in a shell."""
    return shlex.quote(f"./{name}" if name.startswith("-") else name)


def cue_counts(described: dict[str, Any]) -> str:
    """The numbers of enabled and disabled cues of a result in words."""
    enabled = sum(cue["enabled"] for cue in described["cues"])
    disabled = len(described["cues"]) - enabled
    text = "1 cue" if enabled == 1 else f"{enabled} cues"
    return f"{text}, {disabled} disabled" if disabled else text


def _print_warnings(name: str, texts: tuple[str, ...] | list[str]) -> None:
    for text in texts:
        named = text if text.startswith(f"{name}: ") else f"{name}: {text}"
        print_status(f"foleyflow: warning: {printable(named)}")


def _describe_failure(name: str, error: FoleyflowError, *warnings: str) -> dict[str, Any]:
    """The description of a failed video that --json prints."""
    described: dict[str, Any] = {"video": name, "error": str(error), "hint": error.hint or ""}
    return described | ({"warnings": list(warnings)} if warnings else {})
