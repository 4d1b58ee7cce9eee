"""Judge a finished run of `foleyflow generate --json`.

right       Exit 0, one JSON object on stdout, the output next to the input and nothing else, the
            input unchanged, and the output shows the same as the input (see below).
refused     Exit 2, one error line and at most one hint after it, a JSON object with the error on
            stdout, and no file left behind.
traceback   An exception other than the product's own was not caught, a traceback was printed, or
            the exit status is neither 0 nor 2.
crash       The process was ended by a signal.
hang        The run took longer than 30 s, or, for an input whose frames span up to ten minutes,
            30 s and a quarter of that span; the process was killed. (The seed clips have a dozen
            frames; a longer span is a time stamp that jumps, and must be refused.)
wrong       Everything else, in particular exit 0 with an output that differs from the input.

Input and output are decoded on one thread by PyAV alone and must have in common:

- The video packets, byte by byte, in the same order. MPEG program and transport streams contain one
  sequence of bytes, which every reader divides into packets itself. If damage changes the division,
  only the bytes are compared, and no frames. libavformat may put a delimiter and parameter sets
  before an mpegts packet that has lost its own. Damaged VP9 packets may be missing or joined if all
  frames are the same: libavformat takes them for parts of a superframe.
- The shown frames: the same number, each with the same pixels. Additional frames may be shown if a
  warning states that hidden frames are shown.
- Their times, relative to the first shown frame, within 2 ms (the tick of Matroska and FLV is
  1 ms). A frame whose time stamp is missing or not later than the previous one is exempt if a
  warning names it, because there is no right time for it.
- The rotation and the aspect ratio of pixels, the number of subtitle tracks and chapters; losses
  must be named by a warning.

The sound must be exactly one track. It begins with the first shown frame (or with the first video
packet if the first frames can't be decoded) and is as long as `duration_s` in the JSON, within 2 ms
if the container can store that and within two frames of the codec otherwise. `duration_s` must
reach at least to the last frame and at most to the end of the last packet.

Some decoders conceal errors with uninitialised memory, so that the same bytes give different pixels
each time. If frames differ, the input is decoded again, and frames that differ between two
decodings of the same input are not compared.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foleyflow.experiments.robustness.playback import Playback, ShownFrame, play, playback_of

RIGHT, REFUSED = "right", "refused"
TRACEBACK, CRASH, HANG, WRONG = "traceback", "crash", "hang", "wrong"
KINDS = (RIGHT, REFUSED, TRACEBACK, CRASH, HANG, WRONG)
FAILURES = (TRACEBACK, CRASH, HANG, WRONG)

_TIME_TOLERANCE_S = 0.002
# Containers that hide the delay and padding of a lossy audio codec, and the tolerance for others.
_EXACT_CONTAINERS = frozenset({"mov", "mp4", "matroska", "avi"})
_LOOSE_TOLERANCE_S = 0.1
_DELIMITER = bytes.fromhex("0000000109")  # starts an access unit of H.264; one more byte follows
_UNDIVIDED_CONTAINERS = frozenset({"mpeg", "mpegts"})
# The differences that a warning of the product excuses.
_EXCUSES = {
    "times": re.compile(r"missing or backward time stamps|frames .* left out"),
    "rotation": re.compile("rotation"),
    "aspect": re.compile("aspect"),
    "hidden": re.compile("hidden|hide|edit list"),
    "chapters": re.compile("chapter"),
}


@dataclass(frozen=True, kw_only=True)
class Run:
    """The outcome of one run of the command."""

    status: int | None  # exit status; None after an uncaught exception
    stdout: str
    stderr: str  # with the traceback of an uncaught exception


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """One of `KINDS` with its reason; for a refusal, the error line."""

    kind: str
    why: str = ""


def judge(
    run: Run, *, source: Path, original: bytes, before: Playback | None, output: Path
) -> Verdict:
    """Judge a finished run.

    Args:
        run: the outcome of the command.
        source: the input, which was the only file in its folder before the run.
        original: its bytes before the run.
        before: what the input shows; None for a file that can't be played.
        output: the requested output, in the same folder.
    """
    if run.status not in (0, 2) or "Traceback (most recent call last)" in run.stderr:
        last = run.stderr.strip().splitlines()[-1:] or [""]
        return Verdict(kind=TRACEBACK, why=f"exit {run.status}: {last[0]}")
    expected = {source.name} | ({output.name} if run.status == 0 else set())
    found = {path.name for path in source.parent.iterdir()}
    result = _parse_object(run.stdout)
    if found != expected:
        why = f"files {sorted(found)}, expected {sorted(expected)}"
    elif source.read_bytes() != original:
        why = "the input was changed"
    elif result is None:
        why = f"stdout is not one JSON object: {run.stdout[:100]!r}"
    elif run.status == 2:
        return _judge_refusal(run, result, label=source.name)
    elif "output" not in result or "duration_s" not in result:
        why = f"exit 0, but the JSON contains {sorted(result)}"
    elif before is None:
        why = "exit 0 for an input that can't be played"
    else:
        warnings = "\n".join([run.stderr, *result.get("warnings", [])])
        duration_s = result["duration_s"]
        problems = compare_output(before, source, output, duration_s=duration_s, warnings=warnings)
        if not problems:
            return Verdict(kind=RIGHT)
        why = "; ".join(problems)
    return Verdict(kind=WRONG, why=why)


def _judge_refusal(run: Run, result: dict[str, Any], *, label: str) -> Verdict:
    # A progress bar prints its label even if its stream is no terminal.
    lines = [line for line in run.stderr.splitlines() if line.strip() not in ("", label)]
    hints = [line for line in lines if line.startswith("  hint: ")]
    errors = [line for line in lines if line.startswith("foleyflow: ")]
    if not errors or len(hints) > 1 or len(errors) + len(hints) != len(lines):
        why = f"a refusal must be one line and at most one hint: {run.stderr!r}"
        return Verdict(kind=WRONG, why=why)
    if not result.get("error"):
        return Verdict(kind=WRONG, why=f"a refusal without an error in its JSON: {run.stdout!r}")
    return Verdict(kind=REFUSED, why=errors[-1].removeprefix("foleyflow: "))


def _parse_object(text: str) -> dict[str, Any] | None:
    """The JSON object in a text; None if the text is anything else, or contains NaN."""

    def refuse_constant(name: str) -> None:
        raise ValueError(f"{name} is not JSON")

    try:
        value = json.loads(text, parse_constant=refuse_constant)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def compare_output(
    before: Playback, source: Path, output: Path, *, duration_s: float, warnings: str
) -> list[str]:
    """Return descriptions of what is wrong with an output, given what the input shows.

    `duration_s` and `warnings` are the duration of the sound and all warnings that the command
    reported.
    """
    after = playback_of(output, with_sound=True)
    if after is None:
        return ["the output can't be played"]
    unstable: set[int] = set()
    if _digests(before.frames) != _digests(after.frames):
        again = play(source, with_sound=False)
        unstable = {
            index
            for index, (a, b) in enumerate(zip(before.frames, again.frames, strict=False))
            if a.digest != b.digest
        }
    excused = {aspect for aspect, pattern in _EXCUSES.items() if pattern.search(warnings)}
    return [
        *_compare_packets(before, after),
        *_compare_frames(before, after, excused=excused, unstable=unstable),
        *_compare_sound(before, after, duration_s=duration_s),
        *_compare_tracks(before, after, excused=excused, warnings=warnings),
    ]


def _digests(frames: Sequence[ShownFrame]) -> list[str]:
    return [frame.digest for frame in frames]


def _compare_packets(before: Playback, after: Playback) -> list[str]:
    if before.packets == after.packets or _is_divided_differently(before, after):
        return []
    if after.container == "mpegts" and len(before.packets) == len(after.packets):
        pairs = zip(before.packets, after.packets, strict=True)
        if all(b.endswith(_without_delimiter(a)) for a, b in pairs):
            return []
    kept = set(after.packets)
    lost = sum(packet not in kept for packet in before.packets)
    if before.codec == "vp9" and _digests(before.frames) == _digests(after.frames):
        return []
    return [
        f"{len(before.packets)} video packets became {len(after.packets)}, {lost} of them are"
        " missing or changed"
    ]


def _without_delimiter(packet: bytes) -> bytes:
    return packet[len(_DELIMITER) + 1 :] if packet.startswith(_DELIMITER) else packet


def _contains(longer: Sequence[str], shorter: Sequence[str]) -> bool:
    """Whether `shorter` is `longer` with elements left out."""
    rest = iter(longer)
    return all(element in rest for element in shorter)


def _is_divided_differently(before: Playback, after: Playback) -> bool:
    """Whether both have the same bytes, which the reader of the container divided differently."""
    return (
        after.container in _UNDIVIDED_CONTAINERS
        and before.packets != after.packets
        and b"".join(before.packets) == b"".join(after.packets)
    )


def _compare_frames(
    before: Playback, after: Playback, *, excused: set[str], unstable: set[int]
) -> list[str]:
    if _is_divided_differently(before, after):
        return []
    # Number of frames
    if not before.frames:
        return ["exit 0 for an input of which no frame is shown"]
    if len(before.frames) != len(after.frames):
        if "hidden" in excused and _contains(_digests(after.frames), _digests(before.frames)):
            return []
        return [f"{len(before.frames)} shown frames became {len(after.frames)}"]
    # Pixels
    problems = []
    pairs = list(zip(before.frames, after.frames, strict=True))
    other = [
        index
        for index, (a, b) in enumerate(pairs)
        if a.digest != b.digest and index not in unstable
    ]
    if other:
        problems.append(f"frames {_listed(other)} have other pixels")
    # Times
    steady = _steady(before.frames)
    unsteady = [index for index in range(len(pairs)) if index not in steady]
    if unsteady and "times" not in excused:
        problems.append(
            f"frames {_listed(unsteady)} have no usable time, and no warning names them"
        )
    if not steady:
        return problems
    origin = min(steady)
    shifts_s = {
        index: _relative_s(after, index, origin) - _relative_s(before, index, origin)
        for index in sorted(steady)
    }
    moved = [index for index, shift_s in shifts_s.items() if not abs(shift_s) <= _TIME_TOLERANCE_S]
    if moved:
        problems.append(
            f"frames {_listed(moved)} are shown at another time, frame {moved[0]} by"
            f" {shifts_s[moved[0]]:+.4f} s"
        )
    return problems


def _steady(frames: Sequence[ShownFrame]) -> set[int]:
    """Indices of the frames that are later than all before them."""
    steady: set[int] = set()
    last_s = float("-inf")
    for index, frame in enumerate(frames):
        if frame.time_s is not None and frame.time_s > last_s:
            steady.add(index)
            last_s = frame.time_s
    return steady


def _relative_s(playback: Playback, index: int, origin: int) -> float:
    time_s, origin_s = playback.frames[index].time_s, playback.frames[origin].time_s
    return float("nan") if time_s is None or origin_s is None else time_s - origin_s


def _compare_sound(before: Playback, after: Playback, *, duration_s: float) -> list[str]:
    if after.sound_tracks != 1:
        return [f"{after.sound_tracks} audio tracks, expected 1"]
    if after.sound_start_s is None:
        return ["the sound can't be decoded"]
    names = set(after.container.split(","))
    tolerance_s = _TIME_TOLERANCE_S if names & _EXACT_CONTAINERS else _LOOSE_TOLERANCE_S
    times_s = [frame.time_s for frame in before.frames if frame.time_s is not None]
    new_times_s = [frame.time_s for frame in after.frames if frame.time_s is not None]
    if not new_times_s or not times_s or before.first_packet_s is None or before.end_s is None:
        return ["the frames have no times, so the sound can't be placed"]
    problems = []
    # The sound may precede the first frame by the packets that give no frame.
    silent_s = max(times_s[0] - before.first_packet_s, 0.0)
    lead_s = new_times_s[0] - after.sound_start_s
    length_s = after.sound_length_s
    if "avi" in names:  # sound without time stamps begins with silence
        if after.first_packet_s is not None:
            length_s -= max(after.first_packet_s - after.sound_start_s, 0.0)
        lead_s = min(lead_s, 0.0)
    if not -tolerance_s <= lead_s <= silent_s + tolerance_s:
        problems.append(f"the sound begins {lead_s:+.4f} s before the first frame")
    if not abs(length_s - duration_s) <= tolerance_s:
        problems.append(f"the sound lasts {length_s:.4f} s, expected {duration_s:.4f} s")
    shortest_s = max(times_s) - times_s[0]
    longest_s = before.end_s - before.first_packet_s + before.period_s
    if not shortest_s - tolerance_s <= duration_s <= longest_s + tolerance_s:
        problems.append(
            f"the sound lasts {duration_s:.4f} s, the video {shortest_s:.4f} to {longest_s:.4f} s"
        )
    return problems


def _compare_tracks(
    before: Playback, after: Playback, *, excused: set[str], warnings: str
) -> list[str]:
    problems = []
    if before.orientation != after.orientation and "rotation" not in excused:
        problems.append(f"rotation {before.orientation} became {after.orientation}")
    if abs(before.pixel_aspect - after.pixel_aspect) > 0.01 and "aspect" not in excused:
        problems.append(f"pixel aspect {before.pixel_aspect:g} became {after.pixel_aspect:g}")
    if before.chapters != after.chapters and "chapters" not in excused:
        problems.append(f"{before.chapters} chapters became {after.chapters}")
    left_out = len(set(re.findall(r"subtitle track (\d+)", warnings)))
    if before.subtitle_tracks - left_out != after.subtitle_tracks:
        problems.append(
            f"{before.subtitle_tracks} subtitle tracks became {after.subtitle_tracks},"
            f" {left_out} named in warnings"
        )
    return problems


def _listed(numbers: Iterable[int]) -> str:
    listed = list(numbers)
    return ", ".join(map(str, listed[:4])) + (f" and {len(listed) - 4} more" if listed[4:] else "")
