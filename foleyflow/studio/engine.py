"""Keeps the model and the open results, and makes a result again from the history of a project."""

from __future__ import annotations

import dataclasses
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from foleyflow.cues.sheet import CueSheet
from foleyflow.errors import FoleyflowError
from foleyflow.inference.candidates import Candidate
from foleyflow.inference.cue_checks import left_to_reference, with_material
from foleyflow.inference.result import Generated
from foleyflow.inference.sidecar import weights_sha256
from foleyflow.library import SoundLibrary
from foleyflow.media import MediaInfo
from foleyflow.media.frame_source import FrameSource
from foleyflow.studio.caching_model import CachingModel
from foleyflow.studio.history import FOLLOWING, History, Node, Operation
from foleyflow.studio.identified_cues import sheet_of
from foleyflow.studio.project_files import reference_file
from foleyflow.studio.settings import LATER_SETTINGS, StudioSettings
from foleyflow.studio.stored_results import StoredResults, Written

KEPT_RESULTS = 32
# Of a longer sequence of edits, only the last one is rendered when a project is opened again.
MOST_REPLAYED = 32
# Of the progress of a generation
ANALYSIS_SHARE, GENERATED_SHARE = 0.6, 0.95

Progress = Callable[[float], None]  # fraction done; may raise to stop


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
            cues_of=lambda revision: as_generated(
                store.settings, sheet_of(history.cues_at(revision), clip.duration_s)
            ),
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
        *,
        folder: Path | None = None,
    ) -> Generated:
        """A result by `FoleyFlow.generate`; without cues they are found.

        `folder` is that of the project, in which the recording of the settings is.
        """
        arguments = self._arguments(info, cues, settings, progress, folder)
        return self.model.generate(info, seed=settings["seed"], **arguments)

    def candidates(
        self,
        info: MediaInfo,
        cues: CueSheet,
        settings: Mapping[str, Any],
        progress: Progress,
        *,
        seed: int,
        count: int,
        folder: Path,
    ) -> list[Candidate]:
        """Takes by `FoleyFlow.candidates`."""
        arguments = self._arguments(info, cues, settings, progress, folder)
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
        folder: Path | None,
    ) -> dict[str, Any]:
        settings = {**LATER_SETTINGS, **settings}
        reference = settings["reference"]
        if reference is not None:
            reference = reference_file(folder or self.settings.folder, reference)
        return {
            "cues": cues if self.model.materials else None,
            "steps": settings["steps"],
            "guidance": settings["guidance"],
            "sensitivity": settings["sensitivity"],
            "loudness_lufs": settings["loudness_lufs"],
            "library": self._library if settings["library"] else None,
            "library_variation": settings["library_variation"],
            "reference": reference,
            "material": None if reference is None else settings["reference_material"],
            "stereo": settings["stereo"],
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
        while result is None and start > 0 and path[start].operation["kind"] in FOLLOWING:
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
                folder = self.settings.folder / project
                settings = node.operation["settings"]
                result = self.generate(clip, cues, settings, progress, folder=folder)
            written = stored.write(result)
            self.begin(project, info, node.revision, written)
            result = written[1]
        # The edits since then
        for edit in replayed(path[start + 1 :]):
            cues = sheet_of(history.cues_at(edit.revision), clip.duration_s)
            after = applied(result, edit.operation, cues)
            result = stored.append(edit.revision, node.revision, result, after)
            self.keep(project, edit.revision, result)
            node = edit
        return result


def applied(
    result: Generated,
    operation: Operation,
    cues: CueSheet,
    *,
    progress: Callable[[float], None] | None = None,
) -> Generated:
    """The result after an operation whose sound follows from the sound before.

    Args:
        result: before.
        operation: of a kind of `history.FOLLOWING`.
        cues: after it.
        progress: called with the seconds of sound that are panned.
    """
    cues = as_generated(result.settings, cues)
    if operation["kind"] == "regenerate":
        return result.regenerate(
            operation["start_s"], operation["end_s"], seed=operation["seed"], cues=cues
        )
    edited = result.rerender(cues)
    if operation["kind"] == "channels":
        return edited.with_stereo(operation["stereo"], progress=progress)
    return edited


def as_generated(settings: Mapping[str, Any], cues: CueSheet) -> CueSheet:
    """Edited cues as `FoleyFlow.generate` would take them for the recording of a sound, if any."""
    if settings["reference"] is None:
        return cues
    cues, material = left_to_reference(cues), str(settings["material"])
    return cues if material == "auto" else with_material(cues, material)


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
