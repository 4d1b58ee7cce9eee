"""The open projects with everything that they share: engine, jobs and events."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from foleyflow.errors import DataError, FoleyflowError
from foleyflow.media import MediaInfo, probe
from foleyflow.media.formats import FORMATS
from foleyflow.studio import probe_worker
from foleyflow.studio.decoding import Decoding
from foleyflow.studio.engine import Engine
from foleyflow.studio.events import EventHub
from foleyflow.studio.jobs import Job, Jobs
from foleyflow.studio.problems import NotFound, TooLarge
from foleyflow.studio.project import Project
from foleyflow.studio.project_files import (
    FOLDERS,
    RECORD_VERSION,
    confined,
    display_name,
    new_id,
    now,
    project_folder,
    project_ids,
    write_record,
)
from foleyflow.studio.settings import EXAMPLES, StudioSettings

logger = logging.getLogger(__name__)

# Edits wait for nothing else; work on short videos does not wait for that on long ones.
EDIT_LANE = "edit"
LANES = (EDIT_LANE, "short", "long", "media")
SHORT_S = 120.0
RATE_HZ = 48_000
VIDEO_SUFFIXES = tuple(FORMATS)


class Studio:
    """The projects of one folder.

    Attributes:
        settings: of the studio.
        decoding, engine, jobs, events: shared by all projects.
        is_closed: whether the work is being stopped.
    """

    def __init__(self, settings: StudioSettings) -> None:
        settings.folder.mkdir(parents=True, exist_ok=True)
        self.settings = settings
        self.events = EventHub()
        self.decoding = Decoding()
        self.engine = Engine(settings, self.decoding.frames)
        self.jobs = Jobs(LANES, self._publish_job, quick=(EDIT_LANE,))
        self._projects: dict[str, Project] = {}
        self._lock = threading.RLock()
        self.is_closed = False
        self._remove_leftovers()

    # Projects

    def project(self, name: str) -> Project:
        """The project with an id; it is opened if necessary.

        Raises:
            NotFound: there is none.
            DataError: it is damaged.
        """
        with self._lock:
            found = self._projects.get(name)
            if found is None:
                folder = project_folder(self.settings.folder, name)
                found = self._projects[name] = Project(folder, self.settings)
                with contextlib.suppress(DataError):  # the video is missing
                    self.engine.folders[found.video] = folder / "cache"
            return found

    def projects(self) -> list[Project]:
        """All projects that can be opened, the last edited first."""
        found = []
        for name in project_ids(self.settings.folder):
            try:
                found.append(self.project(name))
            except FoleyflowError as error:
                logger.warning("project %s can't be opened: %s", name, error)
        return sorted(found, key=lambda each: str(each.to_json()["changed_at"]), reverse=True)

    def create(self, video: Path, *, name: str, is_copy: bool, moves: bool = False) -> Project:
        """Creates a project from a video that was examined.

        Args:
            video: the file.
            name: of the video, for people.
            is_copy: copy the video into the project; otherwise the project refers to it, below the
                folder of videos.
            moves: move the video instead of copying it.

        Raises:
            TooLarge: the video is too long.
            MediaError: it can't be used.
        """
        name = display_name(name)
        root, project = self.settings.folder, new_id(Path(name).stem)
        draft = root / f".{project}.part"
        draft.mkdir()
        try:
            for each in FOLDERS:
                (draft / each).mkdir()
            if is_copy:
                suffix = Path(name).suffix.lower()
                file = f"video{suffix if suffix in VIDEO_SUFFIXES else '.mkv'}"
                (shutil.move if moves else shutil.copyfile)(video, draft / file)
                info = probe(draft / file)
            else:
                file = str(video.relative_to((self.settings.videos or root).resolve()))
                info = probe(video)
            self.check_duration(info.duration_s)
            write_record(draft, self._first_record(info, name, file, is_copy=is_copy))
            os.rename(draft, root / project)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
        return self.project(project)

    def create_from_example(self, name: str) -> Project:
        """Creates a project from a clip that ships with foleyflow.

        Raises:
            NotFound: there is no such clip.
        """
        if name not in self.examples():
            raise NotFound(
                "there is no such example", hint=f"expected one of {', '.join(self.examples())}"
            )
        return self.create(EXAMPLES / f"{name}.mp4", name=f"{name}.mp4", is_copy=True)

    def create_from_video(self, relative: str) -> Project:
        """Creates a project that refers to a video below the folder of videos.

        Raises:
            NotFound: there is no such video.
            MediaError: it can't be used.
        """
        if self.settings.videos is None:
            raise NotFound(
                "foleyflow serve was started without --videos",
                hint="start it with --videos FOLDER, or upload the video",
            )
        path = confined(self.settings.videos, relative)
        self.check_duration(probe_worker.examine(path)["duration_s"])
        return self.create(path, name=path.name, is_copy=False)

    def create_from_upload(self, file: Path, name: str) -> Project:
        """Creates a project from an uploaded file, which is moved.

        Raises:
            MediaError: it can't be used.
            TooLarge: the video is too long.
        """
        found = probe_worker.examine(file)
        self.check_duration(found["duration_s"])
        name = display_name(name)
        if Path(name).suffix.lower() not in VIDEO_SUFFIXES:
            name += found["suffix"]
        return self.create(file, name=name, is_copy=True, moves=True)

    def delete(self, project: Project) -> None:
        """Deletes a project and all its files."""
        with self._lock, project.lock:
            project.is_deleted = True
            self.jobs.cancel_of(project.id)
            gone = project.folder.with_name(f".{project.id}.deleted")
            os.rename(project.folder, gone)
            self._projects.pop(project.id, None)
        self.engine.forget(project.id)
        for video, folder in list(self.engine.folders.items()):
            if folder.parent == project.folder:
                del self.engine.folders[video]
        shutil.rmtree(gone, ignore_errors=True)
        self.events.publish("deleted", project.id, {"project": project.id})

    def examples(self) -> list[str]:
        """The names of the clips that ship with foleyflow."""
        return sorted(path.stem for path in EXAMPLES.glob("*.mp4"))

    def videos(self) -> list[dict[str, Any]]:
        """The videos to which projects may refer, with their sizes."""
        root = self.settings.videos
        if root is None:
            return []
        found = []
        for path in sorted(root.resolve().rglob("*")):
            if path.suffix.lower() in VIDEO_SUFFIXES:
                with contextlib.suppress(NotFound):
                    name = str(path.relative_to(root.resolve()))
                    found.append({"name": name, "bytes": confined(root, name).stat().st_size})
        return found

    def check_duration(self, duration_s: float) -> None:
        """Raises TooLarge for a video that is longer than allowed."""
        if duration_s > self.settings.duration_s:
            raise TooLarge(
                f"the video lasts {duration_s / 60:.0f} min, expected at most "
                f"{self.settings.duration_s / 60:.0f} min",
                hint="cut it, or start foleyflow serve with a larger --longest",
            )

    # Jobs and events

    def start(
        self,
        project: Project,
        lane: str,
        kind: str,
        work: Callable[[Job], Any],
        *,
        label: str = "",
        is_shown: bool = True,
    ) -> Job:
        """Starts a job of a project."""
        return self.jobs.start(
            lane, work, project=project.id, kind=kind, label=label, is_shown=is_shown
        )

    def lane_of(self, project: Project) -> str:
        """The lane of work on the complete sound of a project."""
        return "short" if project.duration_s <= SHORT_S else "long"

    def describe(self, project: Project) -> dict[str, Any]:
        """A project as the API shows it."""
        from foleyflow.studio.references import references_to_json
        from foleyflow.studio.takes import takes_to_json

        return {
            **project.to_json(),
            "takes": takes_to_json(project),
            "references": references_to_json(project),
        }

    def publish(self, project: Project) -> None:
        """Sends the present state of a project to all streams."""
        if not project.is_deleted:
            self.events.publish("project", project.id, self.describe(project))

    def close(self) -> None:
        """Stops all work."""
        self.is_closed = True
        self.jobs.close()
        self.events.close()
        self.decoding.close()
        for project in list(self._projects.values()):
            project.cue_file.flush()

    def _publish_job(self, job: Job) -> None:
        self.events.publish("job", job.project, self.jobs.to_json(job))

    def _first_record(
        self, info: MediaInfo, name: str, file: str, *, is_copy: bool
    ) -> dict[str, Any]:
        return {
            "version": RECORD_VERSION,
            "name": Path(name).stem,
            "created_at": now(),
            "state": "analysing",
            "error": None,
            "video": {
                "name": name,
                "file": file,
                "is_copy": is_copy,
                "duration_s": info.duration_s,
                "width": info.width,
                "height": info.height,
                "rate_hz": round(info.rate_hz, 6),
                "has_audio": info.has_audio,
                "start_time_code": info.start_time_code,
                "warnings": list(info.warnings),
            },
            "playback": "preparing",
            "mime": None,
            "player_offset_s": 0.0,
            "analysed_until_s": 0.0,
            "sample_rate_hz": RATE_HZ,
            "warnings": [],
            "takes": [],
            "references": [],
            "exports": [],
            "next_number": 1,
            "view": {},
        }

    def _remove_leftovers(self) -> None:
        """Removes what an earlier process has not completed."""
        for pattern in (".*.part", ".*.deleted"):
            for path in self.settings.folder.glob(pattern):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)
