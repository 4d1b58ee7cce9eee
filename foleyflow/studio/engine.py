"""Keeps the model and the open results, and makes a result again from the history of a project."""

from __future__ import annotations

import dataclasses
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from foleyflow import __version__
from foleyflow.cues.sheet import CueSheet
from foleyflow.errors import DataError, FoleyflowError
from foleyflow.inference.analysis import Analysis, analyse_video
from foleyflow.inference.analysis_file import read_analysis, write_analysis
from foleyflow.inference.candidates import Candidate
from foleyflow.inference.pipeline import FoleyFlow
from foleyflow.inference.result import Generated
from foleyflow.inference.sidecar import weights_sha256
from foleyflow.library import SoundLibrary
from foleyflow.media import MediaInfo
from foleyflow.media.frame_source import FrameSource, decode_here
from foleyflow.parallel.precision import precision_on
from foleyflow.studio.history import History, Node
from foleyflow.studio.identified_cues import sheet_of
from foleyflow.studio.settings import StudioSettings
from foleyflow.studio.stored_results import StoredResults, Written
from foleyflow.system.stopwatch import Stopwatch

KEPT_ANALYSES = 8
KEPT_RESULTS = 32
# Of a longer sequence of edits, only the last one is rendered when a project is opened again.
MOST_REPLAYED = 32
# Of the progress of a generation
ANALYSIS_SHARE, GENERATED_SHARE = 0.6, 0.95

Progress = Callable[[float], None]  # fraction done; may raise to stop


class CachingModel(FoleyFlow):
    """A model that keeps the analyses of the last videos. Several threads may use it.

    Attributes:
        folders: of videos, in which their analyses are stored, too.
        weights: hashes that identify the model in stored analyses.
        source: decodes the videos.
    """

    def __init__(self, *networks: Any, **settings: Any) -> None:
        super().__init__(*networks, **settings)
        self.folders: dict[Path, Path] = {}
        self.weights: dict[str, str] = {}
        self.source: FrameSource = decode_here
        self._analyses: OrderedDict[tuple[Any, ...], tuple[Analysis, list[str]]] = OrderedDict()
        self._lock = threading.Lock()

    def analyse(
        self, info: MediaInfo, stopwatch: Stopwatch, progress: Callable[[float], None] | None
    ) -> tuple[Analysis, list[str]]:
        """See `analysis.analyse_video`."""
        status = info.path.stat()
        key = (info.path, status.st_size, status.st_mtime_ns, info.duration_s)
        with self._lock:
            found = self._analyses.get(key)
        if found is None:
            origin = {
                "video": [status.st_size, status.st_mtime_ns, info.duration_s],
                "weights": self.weights,
                "version": __version__,
                "device": str(next(self.aligner.parameters()).device),
                "precision": precision_on(next(self.aligner.parameters()).device),
            }
            folder = self.folders.get(info.path)
            path = None if folder is None else folder / f"analysis-{info.duration_s:.3f}.zip"
            found = None if path is None else _stored(path, origin)
            if found is None:
                found = analyse_video(
                    self.aligner,
                    info,
                    self.plan,
                    stopwatch,
                    threads=self.threads,
                    progress=progress,
                    source=self.source,
                )
                if path is not None:
                    write_analysis(path, *found, origin=origin)
        with self._lock:
            self._analyses[key] = found
            self._analyses.move_to_end(key)
            while len(self._analyses) > KEPT_ANALYSES:
                self._analyses.popitem(last=False)
        return found[0], list(found[1])


def _stored(path: Path, origin: Mapping[str, Any]) -> tuple[Analysis, list[str]] | None:
    try:
        return read_analysis(path, origin=origin)
    except DataError:  # it is made again
        return None


class Engine:
    """The model, which is loaded in the background, and the results that were used last.

    Attributes:
        settings: of the studio.
        folders: of videos, in which their analyses are stored.

    Args:
        settings: of the studio.
        source: decodes the videos.
    """

    def __init__(self, settings: StudioSettings, source: FrameSource) -> None:
        self.settings, self._source = settings, source
        self.folders: dict[Path, Path] = {}
        self._results: OrderedDict[tuple[str, object], Generated] = OrderedDict()
        self._stored: dict[str, StoredResults] = {}
        self._lock = threading.Lock()
        self._loaded = threading.Event()
        self._model: CachingModel | None = None
        self._library: SoundLibrary | None = None
        self._failure: Exception | None = None
        threading.Thread(target=self._load, name="studio-load", daemon=True).start()

    def _load(self) -> None:
        try:
            settings = self.settings
            loaded = CachingModel.from_pretrained(
                settings.model, device=settings.device, threads=settings.threads
            )
            model = cast(CachingModel, loaded)
            model.folders, model.weights = self.folders, weights_sha256(settings.model)
            model.source = self._source
            if settings.library is not None:
                self._library = SoundLibrary.open(settings.library)
            self._model = model
        except Exception as error:  # every request that needs the model raises it
            self._failure = error
        self._loaded.set()

    def join(self, timeout_s: float) -> bool:
        """Waits until the model is loaded; False if that takes longer."""
        return self._loaded.wait(timeout_s)

    @property
    def model(self) -> CachingModel:
        """The model, when it is loaded.

        Raises:
            FoleyflowError: it can't be loaded.
        """
        self._loaded.wait()
        if self._failure is not None:
            raise self._failure
        model = self._model
        if model is None:
            raise RuntimeError("the model is not loaded")
        return model

    def keep(self, project: str, key: object, result: Generated) -> None:
        """Remembers a result of a project."""
        with self._lock:
            self._results[project, key] = result
            self._results.move_to_end((project, key))
            while len(self._results) > KEPT_RESULTS:
                self._results.popitem(last=False)

    def kept(self, project: str, key: object) -> Generated | None:
        """A result of a project, if it is remembered."""
        with self._lock:
            result = self._results.get((project, key))
            if result is not None:
                self._results.move_to_end((project, key))
            return result

    def forget(self, project: str) -> None:
        """Forgets all results of a project."""
        with self._lock:
            for key in [key for key in self._results if key[0] == project]:
                del self._results[key]
            self._stored.pop(project, None)

    def stored(self, project: str, info: MediaInfo) -> StoredResults:
        """The results of a project on disk.

        Raises:
            FoleyflowError: the weights of the model are missing.
        """
        with self._lock:
            known = self._stored.get(project)
            if known is None:
                status = info.path.stat()
                origin = {
                    "video": [status.st_size, status.st_mtime_ns, info.duration_s],
                    "weights": weights_sha256(self.settings.model),
                }
                folder = self.settings.folder / project / "cache" / "sounds"
                known = self._stored[project] = StoredResults(folder, origin)
            return known

    def write(self, project: str, info: MediaInfo, result: Generated) -> Written:
        """Stores a generated result; `begin` has to follow."""
        return self.stored(project, info).write(result)

    def begin(self, project: str, info: MediaInfo, node: int, written: Written) -> None:
        """Makes a stored result that of a node."""
        self.stored(project, info).begin(node, written)
        self.keep(project, node, written[1])

    def is_ready(self, project: str, info: MediaInfo, node: int) -> bool:
        """Whether the result of a node need not be generated."""
        if self.kept(project, node) is not None:
            return True
        try:
            return self.stored(project, info).store_of(node) is not None
        except (FoleyflowError, OSError):
            return False

    def known(
        self, project: str, info: MediaInfo, history: History, node: int, progress: Progress
    ) -> Generated | None:
        """The result of a node that is remembered or stored; None if it has to be generated."""
        result = self.kept(project, node)
        store = None if result else self.stored(project, info).store_of(node)
        if result is not None or store is None:
            return result
        first = history.node_of(store.first)
        clip = clip_of(info, first)
        uses_library = first.operation["settings"]["library"]
        result = store.read(
            node,
            self.model,
            clip,
            cues_of=lambda revision: sheet_of(history.cues_at(revision), clip.duration_s),
            library=self._library if uses_library else None,
            progress=lambda done_s: progress(ANALYSIS_SHARE * done_s / clip.duration_s),
        )
        if result is not None:
            self.keep(project, node, result)
        return result

    def generate(
        self,
        info: MediaInfo,
        cues: CueSheet | None,
        settings: Mapping[str, Any],
        progress: Progress,
    ) -> Generated:
        """A result by `FoleyFlow.generate`; without cues they are found."""
        return self.model.generate(
            info, seed=settings["seed"], **self._arguments(info, cues, settings, progress)
        )

    def candidates(
        self,
        info: MediaInfo,
        cues: CueSheet,
        settings: Mapping[str, Any],
        progress: Progress,
        *,
        seed: int,
        count: int,
    ) -> list[Candidate]:
        """Takes by `FoleyFlow.candidates`."""
        arguments = self._arguments(info, cues, settings, progress)
        on_generated = arguments.pop("on_generated")
        finished, last_s = 0, 0.0

        def report(done_s: float) -> None:
            nonlocal finished, last_s
            finished += done_s < last_s  # the next take begins
            last_s = done_s
            on_generated((finished * info.duration_s + done_s) / count)

        return self.model.candidates(info, count=count, seed=seed, on_generated=report, **arguments)

    def _arguments(
        self,
        info: MediaInfo,
        cues: CueSheet | None,
        settings: Mapping[str, Any],
        progress: Progress,
    ) -> dict[str, Any]:
        return {
            "cues": cues if self.model.materials else None,
            "steps": settings["steps"],
            "guidance": settings["guidance"],
            "sensitivity": settings["sensitivity"],
            "loudness_lufs": settings["loudness_lufs"],
            "library": self._library if settings["library"] else None,
            "progress": lambda done_s: progress(ANALYSIS_SHARE * done_s / info.duration_s),
            "on_generated": lambda done_s: progress(
                ANALYSIS_SHARE + (GENERATED_SHARE - ANALYSIS_SHARE) * done_s / info.duration_s
            ),
        }

    def result_of(
        self,
        project: str,
        info: MediaInfo,
        history: History,
        revision: int,
        progress: Progress,
    ) -> Generated:
        """The result of a node of the history, from the nearest one that is remembered.

        Args:
            project: its id.
            info: its video.
            history: of its changes; nodes may be added meanwhile.
            revision: of the node.
            progress: see `generate`.
        """
        path = history.path_to(revision)
        # From where the sound follows by edits
        start = len(path) - 1
        result = self.known(project, info, history, revision, progress)
        while result is None and path[start].operation["kind"] in ("edit", "regenerate"):
            start -= 1
            result = self.known(project, info, history, path[start].revision, progress)
        node, stored = path[start], self.stored(project, info)
        clip = clip_of(info, node)
        if result is None and node.operation["kind"] == "same":
            same = node.operation["revision"]
            result = self.result_of(project, info, history, same, progress)
            self.keep(project, node.revision, stored.append(node.revision, same, result, result))
        elif result is None:
            if "take" in node.operation:
                result = self.kept(project, node.operation["take"])
            if result is None:
                cues = sheet_of(history.cues_at(node.revision), clip.duration_s)
                result = self.generate(clip, cues, node.operation["settings"], progress)
            written = stored.write(result)
            self.begin(project, info, node.revision, written)
            result = written[1]
        # The edits since then
        for edit in replayed(path[start + 1 :]):
            cues = sheet_of(history.cues_at(edit.revision), clip.duration_s)
            after = applied(result, edit, cues)
            result = stored.append(edit.revision, node.revision, result, after)
            self.keep(project, edit.revision, result)
            node = edit
        return result


def applied(result: Generated, node: Node, cues: CueSheet) -> Generated:
    """The result after an edit of cues, or after a stretch was generated again."""
    operation = node.operation
    if operation["kind"] == "regenerate":
        return result.regenerate(
            operation["start_s"], operation["end_s"], seed=operation["seed"], cues=cues
        )
    return result.rerender(cues)


def replayed(edits: Sequence[Node]) -> list[Node]:
    """The edits to render: all, or of many in a row only the last one.

    Rendering several edits at once gives sound of the same cues; samples within the edited
    stretches may differ slightly.
    """
    if len(edits) <= MOST_REPLAYED:
        return list(edits)
    return [
        edit
        for edit, following in zip(edits, [*edits[1:], None], strict=True)
        if following is None
        or edit.operation["kind"] != "edit"
        or following.operation["kind"] != "edit"
    ]


def clip_of(info: MediaInfo, node: Node) -> MediaInfo:
    """The part of the video that a node is about: the complete one, or its beginning."""
    until_s = node.operation.get("until_s")
    return info if until_s is None else dataclasses.replace(info, duration_s=until_s)
