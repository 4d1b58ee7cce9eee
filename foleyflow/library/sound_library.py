"""A folder of recorded sounds: which files it has for which cues."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from foleyflow.cues.cue import Cue, CueKind
from foleyflow.cues.sheet import CueSheet
from foleyflow.errors import DataError, FoleyflowError
from foleyflow.library.index import SoundIndex, default_cache_folder
from foleyflow.library.measuring import SOUND_SUFFIXES, SoundMeasures
from foleyflow.library.naming import DEFAULT_MATERIALS, Label, Vocabulary
from foleyflow.system.generic_types import Progress
from foleyflow.system.printable import printable

logger = logging.getLogger(__name__)

_LISTED = 5  # files in a warning


@dataclass(frozen=True, kw_only=True)
class SoundFile:
    """A usable file of a library.

    Attributes:
        file: path below the library's folder, with "/".
        material, kind: of its sound.
        sha256: of its content.
        measures: of its sound.
    """

    file: str
    material: str
    kind: CueKind
    sha256: str
    measures: SoundMeasures


@dataclass(frozen=True, kw_only=True)
class SkippedFile:
    """A sound file that a library does not use.

    Attributes:
        file: path below the library's folder, with "/".
        reason: why it is not used.
        suggestions: materials that its names may mean.
    """

    file: str
    reason: str
    suggestions: tuple[str, ...] = ()

    def __str__(self) -> str:
        hint = f"; did you mean {' or '.join(self.suggestions)}?" if self.suggestions else ""
        return printable(f"{self.file} ({self.reason}{hint})")


@dataclass(frozen=True, kw_only=True)
class SoundLibrary:
    """The sound files of a folder and its subfolders.

    Attributes:
        folder: of the library.
        files: usable files, ordered by name.
        unnamed: files whose names contain no known material, or several.
        unreadable: files that can't be decoded, or that are silent.
        decoded: number of files that `open` decoded; the others were in the index.
    """

    folder: Path
    files: tuple[SoundFile, ...]
    unnamed: tuple[SkippedFile, ...] = ()
    unreadable: tuple[SkippedFile, ...] = ()
    decoded: int = 0
    _groups: dict[tuple[str, CueKind], list[SoundFile]] = field(
        init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        groups: dict[tuple[str, CueKind], list[SoundFile]] = {}
        for sound in self.files:
            groups.setdefault((sound.material, sound.kind), []).append(sound)
        for sounds in groups.values():
            sounds.sort(key=lambda sound: (sound.measures.peak, sound.file))
        object.__setattr__(self, "_groups", groups)

    @classmethod
    def open(
        cls,
        folder: str | Path,
        *,
        materials: Iterable[str] = DEFAULT_MATERIALS,
        cache_folder: Path | None = None,
        progress: Progress | None = None,
    ) -> SoundLibrary:
        """Scan a folder and its subfolders; files that did not change are not decoded again.

        Args:
            folder: of wav, flac, mp3, ogg, aiff and similar files. Hidden files are ignored.
            materials: known names of materials.
            cache_folder: of the index; None for `default_cache_folder`.
            progress: called for each file.

        Raises:
            DataError: there is no such folder, or no usable file in it.
        """
        # Find the files
        folder = Path(folder)
        vocabulary = Vocabulary(materials)
        index = SoundIndex(folder, cache_folder or default_cache_folder())
        found = sorted(_sound_files(folder), key=lambda entry: entry[0])
        # Measure those with a known material
        files: list[SoundFile] = []
        unnamed: list[SkippedFile] = []
        unreadable: list[SkippedFile] = []
        for done, (file, size, mtime_ns) in enumerate(found, start=1):
            label = vocabulary.label(file)
            if label.material is None:
                unnamed.append(_unnamed(file, label))
            else:
                try:
                    sha256, measures = index.measure(file, size=size, mtime_ns=mtime_ns)
                except FoleyflowError as error:
                    unreadable.append(SkippedFile(file=file, reason=str(error)))
                else:
                    sound = SoundFile(
                        file=file,
                        material=label.material,
                        kind=label.kind,
                        sha256=sha256,
                        measures=measures,
                    )
                    files.append(sound)
            if progress is not None:
                progress(done, len(found))
        # Store the index before a possible error
        index.save()
        library = cls(
            folder=folder,
            files=tuple(files),
            unnamed=tuple(unnamed),
            unreadable=tuple(unreadable),
            decoded=index.decoded,
        )
        if not files:
            raise _nothing_usable(library)
        return library

    @property
    def materials(self) -> tuple[str, ...]:
        """The materials of the usable files, in alphabetical order."""
        return tuple(sorted({sound.material for sound in self.files}))

    def sounds(self, material: str, kind: CueKind) -> list[SoundFile]:
        """The files of a material and kind, from the quietest recording to the loudest."""
        return list(self._groups.get((material, kind), ()))

    def covers(self, cue: Cue) -> bool:
        """Whether a cue is enabled and the library has files of its material and kind."""
        return cue.enabled and (cue.material, cue.kind) in self._groups

    def warnings(self) -> list[str]:
        """Warnings about files that are not used."""
        return [
            f"{printable(self.folder)}: {len(skipped)} sound {_files(len(skipped))} not used, "
            f"{_listed(skipped)}"
            for skipped in (self.unnamed, self.unreadable)
            if skipped
        ]


def split_cues(sheet: CueSheet, library: SoundLibrary) -> tuple[CueSheet, CueSheet]:
    """The cues that are left to the model, disabled ones included, and those of the library."""
    return (
        sheet.filter(lambda cue: not library.covers(cue)),
        sheet.filter(library.covers),
    )


def _sound_files(folder: Path) -> Iterator[tuple[str, int, int]]:
    """(path below the folder, size, modification time) of each sound file.

    Raises:
        DataError: the folder can't be read.
    """
    visited: set[tuple[int, int]] = set()  # a link may lead back to an outer folder
    pending = [(folder, "")]
    while pending:
        current, prefix = pending.pop()
        try:
            status = current.stat()
            if (status.st_dev, status.st_ino) in visited:
                continue
            visited.add((status.st_dev, status.st_ino))
            entries = list(os.scandir(current))
        except OSError as error:
            if current == folder:
                raise _not_a_folder(folder, error) from error
            logger.warning("%s: the folder can't be read (%s)", current, error.strerror)
            continue
        for entry in entries:
            if entry.name.startswith("."):
                continue
            is_sound = entry.name.lower().endswith(SOUND_SUFFIXES)
            try:
                if entry.is_dir():
                    pending.append((Path(entry.path), f"{prefix}{entry.name}/"))
                elif is_sound and stat.S_ISREG((status := entry.stat()).st_mode):
                    yield f"{prefix}{entry.name}", status.st_size, status.st_mtime_ns
            except OSError as error:  # a link that leads nowhere
                logger.warning("%s: can't be read (%s)", entry.path, error.strerror)


def _not_a_folder(folder: Path, error: OSError) -> DataError:
    what = "is a file, not a folder" if folder.is_file() else f"no such folder ({error.strerror})"
    return DataError(
        f"{printable(folder)}: {what}", hint="give a folder of sound files, such as wood/knock.wav"
    )


def _unnamed(file: str, label: Label) -> SkippedFile:
    if label.ambiguous:
        return SkippedFile(file=file, reason=f"it names {' and '.join(label.ambiguous)}")
    return SkippedFile(
        file=file, reason="it names no known material", suggestions=label.suggestions
    )


def _nothing_usable(library: SoundLibrary) -> DataError:
    skipped = [*library.unnamed, *library.unreadable]
    found = f": {_listed(skipped)}" if skipped else f", expected {', '.join(SOUND_SUFFIXES)}"
    return DataError(
        f"{printable(library.folder)}: no usable sound file{found}",
        hint="name each file or its folder after its material, for instance wood/knock_1.wav",
    )


def _listed(skipped: list[SkippedFile] | tuple[SkippedFile, ...]) -> str:
    more = f" and {len(skipped) - _LISTED} more" if len(skipped) > _LISTED else ""
    return ", ".join(map(str, skipped[:_LISTED])) + more


def _files(count: int) -> str:
    return "file is" if count == 1 else "files are"
