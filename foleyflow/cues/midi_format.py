"""Cue sheets as Standard MIDI Files: the note is the material, its velocity the level.

The material chooses a key, and the kind an octave: three octaves below a hit is the roll of the
same material, two octaves below the scrape. Disabled cues are left out.

Reference: Standard MIDI Files 1.0, in the MIDI 1.0 specification (1996). The level of a velocity v
is 40 log10(v / 127) dB, the concave transform of DLS Level 1 (1997), which many synthesizers use.
"""

from __future__ import annotations

import io
import itertools
import math
from typing import TYPE_CHECKING, Any

from foleyflow.cues.cue import Cue, CueKind
from foleyflow.cues.fields import StoredCues
from foleyflow.cues.sheet import CueSheet
from foleyflow.cues.video_reference import VideoReference
from foleyflow.errors import ConfigError

if TYPE_CHECKING:
    from mido import MidiFile

TICKS_PER_QUARTER = 9600
MICROSECONDS_PER_QUARTER = 500_000  # 120 beats a minute: 19200 ticks a second
# In the order of their keys; the key after the last is that of all other materials, and of none.
NOTE_MATERIALS = (
    "wood",
    "metal",
    "glass",
    "ceramic",
    "plastic",
    "rubber",
    "membrane",
    "stone",
    "cardboard",
)
FIRST_NOTES: dict[CueKind, int] = {"hit": 36, "roll": 0, "scrape": 12}
HIT_S = 0.05  # length of the note of a hit
UNKNOWN_LEVEL_VELOCITY = 100  # of a cue without a level
_LOWEST_LEVEL_DB = -60.0
_CHANNELS = 16


def note_of(cue: Cue) -> int:
    """The note of the kind and material of a cue."""
    material = cue.material or ""
    known = material in NOTE_MATERIALS
    return FIRST_NOTES[cue.kind] + (
        NOTE_MATERIALS.index(material) if known else len(NOTE_MATERIALS)
    )


def velocity_of(cue: Cue) -> int:
    """The velocity of the level of a cue, 1..127; 127 is 0 dB and above."""
    level_db = cue.loudest_level_db
    if level_db is None:
        return UNKNOWN_LEVEL_VELOCITY
    return max(1, min(127, round(127 * 10 ** (level_db / 40))))


def parse_midi(data: bytes, file: str, video: VideoReference) -> StoredCues:
    """Parse the notes of all tracks and channels; `file` names them in errors.

    Notes of rolls and scrapes last until they are released. Every other note is a hit.

    Raises:
        ConfigError: the file is damaged, or its times do not follow a tempo.
    """
    rows: list[tuple[str, dict[str, Any]]] = []
    held: dict[tuple[int, int], list[dict[str, Any]]] = {}
    time_s = 0.0
    for time_s, message in _messages(_opened(data, file)):
        key = (message.channel, message.note)
        if message.type == "note_off" or message.velocity == 0:
            if held.get(key):
                held[key].pop(0)["end_s"] = time_s
            continue
        fields = {"time_s": time_s, **_fields(message.note, message.velocity)}
        if fields["kind"] != "hit":
            held.setdefault(key, []).append(fields)
        rows.append((f"note {len(rows) + 1}", fields))
    for fields in (fields for notes in held.values() for fields in notes):
        fields["end_s"] = time_s  # a note that is never released
    return StoredCues(rows=rows, slack_s=0.001)


def midi_bytes(sheet: CueSheet, video: VideoReference) -> bytes:
    """A file of one track, with a note for each enabled cue."""
    from mido import Message, MetaMessage, MidiFile, MidiTrack

    # Notes: hits end before the next hit of their key, frictions that overlap get more channels
    cues = sheet.enabled
    next_start = dict.fromkeys(range(128), math.inf)
    lengths = {}
    for cue in reversed(cues.hits):
        note, start = note_of(cue), _tick(cue.time_s)
        lengths[start] = min(_tick(HIT_S), next_start[note] - start)
        next_start[note] = start
    events: list[tuple[float, int, Message]] = []  # tick, order of equal ticks, message
    free_from = dict.fromkeys(itertools.product(range(_CHANNELS), range(128)), 0)
    for cue in cues:
        note, channel, start = note_of(cue), 0, _tick(cue.time_s)
        if cue.end_s is None:
            end = start + lengths[start]
        else:
            end = max(_tick(cue.end_s), start + 1)
            free = [each for each in range(_CHANNELS) if free_from[each, note] <= start]
            channel = free[0] if free else _CHANNELS - 1
            free_from[channel, note] = end
        given = {"channel": channel, "note": note}
        events.append((start, 1, Message("note_on", velocity=velocity_of(cue), **given)))
        events.append((end, 0, Message("note_off", velocity=0, **given)))
    # Times as differences
    track, now = MidiTrack([MetaMessage("track_name", name="foleyflow cues")]), 0
    track.append(MetaMessage("set_tempo", tempo=MICROSECONDS_PER_QUARTER))
    for tick, _, message in sorted(events, key=lambda event: event[:2]):
        track.append(message.copy(time=int(tick) - now))
        now = int(tick)
    track.append(MetaMessage("end_of_track"))
    stream = io.BytesIO()
    MidiFile(type=0, ticks_per_beat=TICKS_PER_QUARTER, tracks=[track]).save(file=stream)
    return stream.getvalue()


def _tick(time_s: float) -> int:
    return round(time_s * TICKS_PER_QUARTER * 1_000_000 / MICROSECONDS_PER_QUARTER)


def _opened(data: bytes, file: str) -> MidiFile:
    from mido import KeySignatureError, MidiFile

    hint = "export the notes as a Standard MIDI File of type 0 or 1"
    try:
        midi = MidiFile(file=io.BytesIO(data), clip=True)
    except (OSError, EOFError, ValueError, IndexError, KeySignatureError) as error:
        reason = str(error) or "it ends too early"
        raise ConfigError(f"{file}: damaged MIDI file ({reason})", hint=hint) from error
    if midi.type == 2 or midi.ticks_per_beat <= 0:
        kind = "several songs (type 2)" if midi.type == 2 else "time code instead of a tempo"
        raise ConfigError(f"{file}: it has {kind}", hint=hint)
    return midi


def _messages(midi: MidiFile) -> Any:
    """(seconds from the start, message) of each start and end of a note, in order."""
    from mido import merge_tracks

    tempo, time_s = MICROSECONDS_PER_QUARTER, 0.0
    for message in merge_tracks(midi.tracks):
        time_s += message.time * tempo / (1e6 * midi.ticks_per_beat)
        if message.type == "set_tempo":
            tempo = message.tempo
        elif message.type in ("note_on", "note_off"):
            yield time_s, message


def _fields(note: int, velocity: int) -> dict[str, Any]:
    """Kind, level and, if the note has one, material."""
    level_db = max(_LOWEST_LEVEL_DB, round(40 * math.log10(velocity / 127), 2))
    fields: dict[str, Any] = {"kind": "hit", "level_db": level_db}
    for kind, first in FIRST_NOTES.items():
        if 0 <= note - first <= len(NOTE_MATERIALS):
            fields["kind"] = kind
            if note - first < len(NOTE_MATERIALS):
                fields["material"] = NOTE_MATERIALS[note - first]
    return fields
