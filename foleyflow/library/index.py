"""The measures of a library's files, stored so that unchanged files are not decoded again.

Each folder has one index file. A file with the size and modification time of its entry is
unchanged. Otherwise the SHA-256 of its content decides: renamed, copied and touched files keep
their measures. The first line of an index is the hash of the rest, so a damaged one is noticed.
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from foleyflow.errors import DataError, FoleyflowError
from foleyflow.library.measuring import SoundMeasures, measure_file
from foleyflow.system.atomic_files import draft_of

logger = logging.getLogger(__name__)

FORMAT = 1  # raise it whenever the measures of a file change
_FIELDS = [field.name for field in fields(SoundMeasures)]
SAVED_AFTER = 1000  # decoded files, so that an interrupted first scan is not lost


def default_cache_folder() -> Path:
    """The default folder of the indices of sound libraries."""
    return Path.home() / ".cache" / "foleyflow" / "libraries"


class SoundIndex:
    """The stored measures of one library; counts the files that had to be decoded.

    Args:
        folder: of the library.
        cache_folder: of the index files; created by `save`.
    """

    def __init__(self, folder: Path, cache_folder: Path) -> None:
        name = hashlib.sha256(str(folder.resolve()).encode("utf-8", "surrogateescape"))
        self.path = cache_folder / f"{name.hexdigest()[:32]}.json"
        self.decoded = 0
        self._folder = folder
        # File -> size, modification time, hash; hash -> measures, or why the sound is unusable
        self._stamps: dict[str, tuple[int, int, str]] = {}
        self._sounds: dict[str, SoundMeasures | str] = {}
        self._seen: dict[str, tuple[int, int, str]] = {}
        self._read()

    def measure(self, file: str, *, size: int, mtime_ns: int) -> tuple[str, SoundMeasures]:
        """The hash of a file's content and its measures.

        Raises:
            FoleyflowError: it can't be read, or is silent.
        """
        stamp = self._stamps.get(file)
        if stamp is None or stamp[:2] != (size, mtime_ns):
            stamp = (size, mtime_ns, _content_sha256(self._folder / file))
        sha256 = stamp[2]
        if sha256 not in self._sounds:
            self._sounds[sha256] = self._decode(file)
        self._seen[file] = stamp
        sound = self._sounds[sha256]
        if isinstance(sound, str):
            raise DataError(sound)
        return sha256, sound

    def save(self) -> None:
        """Store what changed; entries of files that were not measured since are dropped."""
        if self._seen != self._stamps:
            self._write(self._seen)

    def _write(self, stamps: dict[str, tuple[int, int, str]]) -> None:
        """Store the entries of some files; it is not an error if they can't be stored."""
        used = {sha256 for _, _, sha256 in stamps.values()}
        body = json.dumps(
            {
                "format": FORMAT,
                "fields": _FIELDS,
                "files": stamps,
                "sounds": {
                    sha256: sound if isinstance(sound, str) else asdict(sound)
                    for sha256, sound in self._sounds.items()
                    if sha256 in used
                },
            },
            separators=(",", ":"),
        )
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with draft_of(self.path) as draft:
                draft.write_text(f"{_text_sha256(body)}\n{body}", encoding="utf-8")
        except OSError as error:
            logger.warning("%s: the index can't be stored (%s)", self.path, error.strerror)

    def _read(self) -> None:
        try:
            checksum, _, body = self.path.read_text(encoding="utf-8").partition("\n")
        except FileNotFoundError:
            return
        except (OSError, UnicodeDecodeError) as error:
            logger.warning("%s: damaged, built again (%s)", self.path, type(error).__name__)
            return
        if checksum != _text_sha256(body):
            logger.warning("%s: damaged, built again", self.path)
            return
        stored: dict[str, Any] = json.loads(body)
        if stored["format"] != FORMAT or stored["fields"] != _FIELDS:
            return
        self._stamps = {file: tuple(stamp) for file, stamp in stored["files"].items()}
        self._sounds = {
            sha256: SoundMeasures(**sound) if isinstance(sound, dict) else sound
            for sha256, sound in stored["sounds"].items()
        }

    def _decode(self, file: str) -> SoundMeasures | str:
        """The measures of a file, or the reason why it can't be used."""
        if self.decoded and self.decoded % SAVED_AFTER == 0:
            self._write(self._stamps | self._seen)
        self.decoded += 1
        path = self._folder / file
        try:
            return measure_file(path)
        except FoleyflowError as error:
            return str(error).removeprefix(f"{path}: ")


def _content_sha256(path: Path) -> str:
    """The hash of a file's content.

    Raises:
        DataError: it can't be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as stream:
            for block in iter(lambda: stream.read(1 << 20), b""):
                digest.update(block)
    except OSError as error:
        raise DataError(
            f"can't be read ({error.strerror})", hint="check its permissions"
        ) from error
    return digest.hexdigest()


def _text_sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
