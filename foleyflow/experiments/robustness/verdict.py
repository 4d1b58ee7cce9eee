"""Decides what a finished run of `foleyflow generate --json` was worth.

right       Exit 0, one JSON object on stdout, the output beside the input and nothing else, the
            input unchanged, and the output shows what the input shows (below).
refused     Exit 2, one line of error and at most one hint after it, a JSON object with the error
            on stdout, and no file left behind.
traceback   An exception other than the product's own reached the top, a traceback was printed, or
            the exit status is neither 0 nor 2.
crash       The process was ended by a signal.
hang        The run took longer than 30 s, or, for an input whose pictures span up to ten minutes,
            30 s and a quarter of that span; the process was killed. (The seed clips have a dozen
            pictures; a longer span is a time stamp that jumps, and must be refused.)
wrong       Everything else, in particular an exit 0 with an output that differs from the input.

What an output must share with its input, both decoded on one thread by PyAV alone:

- The video packets, byte by byte, in the same order. MPEG program and transport streams hold no
  packets but one row of bytes, which every reader cuts again; where damage makes it cut elsewhere,
  only the row of bytes is compared, and no pictures. libavformat may put a delimiter and parameter
  sets before a packet of mpegts that has lost its own. Damaged VP9 packets may be missing or joined
  where all pictures are the same: libavformat takes one for a part of a superframe.
- The shown pictures: the same number, each with the same pixels. Further ones may be shown if a
  warning says that hidden pictures come back.
- Their times, relative to the first shown picture, within 2 ms (the tick of Matroska and FLV is
  1 ms). A picture whose time stamp is missing or not later than the one before it is exempt if a
  warning says so, because there is no right time for it. Others may move if a warning says so.
- The rotation and the shape of pixels, the number of subtitle tracks and chapters; what is lost
  must be named by a warning.

And its sound: exactly one track, which begins with the first shown picture (or with the first video
packet, where the first pictures can't be decoded) and is as long as `duration_s` in the JSON,
within 2 ms where the container can say so and within two frames of the codec where it can't.
`duration_s` in turn reaches at least to the last picture and at most to the end of the last packet.

Some decoders conceal errors with whatever lies in memory, so that the same bytes give other pixels
each time. Where pictures differ, the input is decoded again, and pictures that differ between two
decodings of the same input are not compared.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foleyflow.experiments.robustness.playback import Picture, Playback, play, playback_of

RIGHT, REFUSED = "right", "refused"
TRACEBACK, CRASH, HANG, WRONG = "traceback", "crash", "hang", "wrong"
KINDS = (RIGHT, REFUSED, TRACEBACK, CRASH, HANG, WRONG)
FAILURES = (TRACEBACK, CRASH, HANG, WRONG)

_TIME_TOLERANCE_S = 0.002
# Containers that can't hide the delay and the padding of a lossy sound codec, and how much it is.
_EXACT_CONTAINERS = frozenset({"mov", "mp4", "matroska", "avi"})
_LOOSE_TOLERANCE_S = 0.1
_DELIMITER = bytes.fromhex("0000000109")  # begins an access unit of H.264; one more byte follows
_UNCUT_CONTAINERS = frozenset({"mpeg", "mpegts"})
# Which difference a warning of the product excuses.
_EXCUSES = {
    "times": re.compile(r"missing or backward time stamps|frames .* left out"),
    "moved": re.compile(r"pictures? .*(moved|shifted)"),
    "rotation": re.compile(r"\brotat|\bturned\b|display matrix|mirror", re.IGNORECASE),
    "aspect": re.compile(r"aspect|shape of (the )?pixels", re.IGNORECASE),
    "hidden": re.compile(r"hidden|hide|edit list|trim", re.IGNORECASE),
    "chapters": re.compile(r"chapter", re.IGNORECASE),
    "subtitle": re.compile(r"subtitle track .* left out"),
}


@dataclass(frozen=True, kw_only=True)
class Run:
    """How one run of the command ended.

    Attributes:
        status: exit status; None if an exception came through.
        stdout: what it printed.
        stderr: likewise; with the traceback of such an exception.
    """

    status: int | None
    stdout: str
    stderr: str


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a run was, one of `KINDS`, and why, in words; a refusal's reason is its error line."""

    kind: str
    why: str = ""


def judge(
    run: Run, *, source: Path, original: bytes, before: Playback | None, output: Path
) -> Verdict:
    """Decide what a finished run was.

    Args:
        run: how the command ended.
        source: the input, alone in its folder before the run.
        original: its bytes before the run.
        before: what it shows; None for a file that can't be played.
        output: where the result was asked for, in the same folder.

    Returns:
        The verdict.
    """
    if run.status not in (0, 2) or "Traceback (most recent call last)" in run.stderr:
        last = run.stderr.strip().splitlines()[-1:] or [""]
        return Verdict(kind=TRACEBACK, why=f"exit {run.status}: {last[0]}")
    expected = {source.name} | ({output.name} if run.status == 0 else set())
    there = {path.name for path in source.parent.iterdir()}
    if there != expected:
        return Verdict(kind=WRONG, why=f"files {sorted(there)}, expected {sorted(expected)}")
    if source.read_bytes() != original:
        return Verdict(kind=WRONG, why="the input was changed")
    answer = _one_object(run.stdout)
    if answer is None:
        return Verdict(kind=WRONG, why=f"stdout is not one JSON object: {run.stdout[:100]!r}")
    if run.status == 2:
        return _judge_refusal(run, answer, label=source.name)
    if "output" not in answer or "duration_s" not in answer:
        return Verdict(kind=WRONG, why=f"exit 0, but the JSON holds {sorted(answer)}")
    said = "\n".join([run.stderr, *answer.get("warnings", [])])
    if before is None:
        return Verdict(kind=WRONG, why="exit 0 for an input that can't be played")
    problems = compare_output(
        before, source, output, duration_s=answer["duration_s"], warnings=said
    )
    if problems:
        return Verdict(kind=WRONG, why="; ".join(problems))
    return Verdict(kind=RIGHT)


def _judge_refusal(run: Run, answer: dict[str, Any], *, label: str) -> Verdict:
    # A progress bar leaves its label behind where its stream is no terminal.
    lines = [line for line in run.stderr.splitlines() if line.strip() not in ("", label)]
    hints = [line for line in lines if line.startswith("  hint: ")]
    errors = [line for line in lines if line.startswith("foleyflow: ")]
    if not errors or len(hints) > 1 or len(errors) + len(hints) != len(lines):
        return Verdict(kind=WRONG, why=f"a refusal must be one line and a hint: {run.stderr!r}")
    if not answer.get("error"):
        return Verdict(kind=WRONG, why=f"a refusal whose JSON names no error: {run.stdout!r}")
    return Verdict(kind=REFUSED, why=errors[-1].removeprefix("foleyflow: "))


def _one_object(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def compare_output(
    before: Playback, source: Path, output: Path, *, duration_s: float, warnings: str
) -> list[str]:
    """What is wrong with an output, in words; nothing if it is right.

    Args:
        before: what the input shows.
        source: the input.
        output: what was made of it.
        duration_s: of the sound, as the command reported it.
        warnings: all that the command warned of.
    """
    after = playback_of(output, with_sound=True)
    if after is None:
        return ["the output can't be played"]
    unstable: set[int] = set()
    if _digests(before.pictures) != _digests(after.pictures):
        again = play(source, with_sound=False)
        unstable = {
            index
            for index, (a, b) in enumerate(zip(before.pictures, again.pictures, strict=False))
            if a.digest != b.digest
        }
    excused = {aspect for aspect, pattern in _EXCUSES.items() if pattern.search(warnings)}
    return [
        *_compare_packets(before, after),
        *_compare_pictures(before, after, excused=excused, unstable=unstable),
        *_compare_sound(before, after, duration_s=duration_s),
        *_compare_tracks(before, after, excused=excused, warnings=warnings),
    ]


def _digests(pictures: Sequence[Picture]) -> list[str]:
    return [picture.digest for picture in pictures]


def _compare_packets(before: Playback, after: Playback) -> list[str]:
    if before.packets == after.packets or _cut_elsewhere(before, after):
        return []
    if after.container == "mpegts" and len(before.packets) == len(after.packets):
        pairs = zip(before.packets, after.packets, strict=True)
        if all(b.endswith(_undelimited(a)) for a, b in pairs):
            return []
    kept = set(after.packets)
    lost = sum(packet not in kept for packet in before.packets)
    same_pictures = _digests(before.pictures) == _digests(after.pictures)
    if before.codec == "vp9" and same_pictures:
        return []
    return [
        f"{len(before.packets)} video packets became {len(after.packets)}, {lost} of them are"
        " missing or changed"
    ]


def _undelimited(packet: bytes) -> bytes:
    return packet[len(_DELIMITER) + 1 :] if packet.startswith(_DELIMITER) else packet


def _contains(longer: Sequence[str], shorter: Sequence[str]) -> bool:
    """Whether the one sequence is the other with elements left out."""
    rest = iter(longer)
    return all(element in rest for element in shorter)


def _cut_elsewhere(before: Playback, after: Playback) -> bool:
    """Whether both are the same bytes, which the reader of the container cut differently."""
    return (
        after.container in _UNCUT_CONTAINERS
        and before.packets != after.packets
        and b"".join(before.packets) == b"".join(after.packets)
    )


def _compare_pictures(
    before: Playback, after: Playback, *, excused: set[str], unstable: set[int]
) -> list[str]:
    if _cut_elsewhere(before, after):
        return []
    if not before.pictures:
        return ["exit 0 for an input of which no picture is shown"]
    if len(before.pictures) != len(after.pictures):
        if "hidden" in excused and _contains(_digests(after.pictures), _digests(before.pictures)):
            return []
        return [f"{len(before.pictures)} shown pictures became {len(after.pictures)}"]
    problems = []
    pairs = list(zip(before.pictures, after.pictures, strict=True))
    other = [
        index
        for index, (a, b) in enumerate(pairs)
        if a.digest != b.digest and index not in unstable
    ]
    if other:
        problems.append(f"pictures {_few(other)} have other pixels")
    steady = _steady(before.pictures)
    odd = [index for index in range(len(pairs)) if index not in steady]
    if odd and "times" not in excused:
        problems.append(f"pictures {_few(odd)} have no usable time, and no warning says so")
    if not steady:
        return problems
    origin = min(steady)
    shifts_s = {
        index: _relative_s(after, index, origin) - _relative_s(before, index, origin)
        for index in sorted(steady)
    }
    moved = [index for index, shift_s in shifts_s.items() if not abs(shift_s) <= _TIME_TOLERANCE_S]
    if moved and "moved" not in excused:
        problems.append(
            f"pictures {_few(moved)} are shown at another time, picture {moved[0]} by"
            f" {shifts_s[moved[0]]:+.4f} s"
        )
    return problems


def _steady(pictures: Sequence[Picture]) -> set[int]:
    """Indices of the pictures that are later than all before them."""
    steady: set[int] = set()
    last_s = float("-inf")
    for index, picture in enumerate(pictures):
        if picture.time_s is not None and picture.time_s > last_s:
            steady.add(index)
            last_s = picture.time_s
    return steady


def _relative_s(playback: Playback, index: int, origin: int) -> float:
    time_s, origin_s = playback.pictures[index].time_s, playback.pictures[origin].time_s
    return float("nan") if time_s is None or origin_s is None else time_s - origin_s


def _compare_sound(before: Playback, after: Playback, *, duration_s: float) -> list[str]:
    if after.sound_tracks != 1:
        return [f"{after.sound_tracks} sound tracks, expected 1"]
    if after.sound_start_s is None:
        return ["the sound can't be decoded"]
    names = set(after.container.split(","))
    tolerance_s = _TIME_TOLERANCE_S if names & _EXACT_CONTAINERS else _LOOSE_TOLERANCE_S
    shown = [p.time_s for p in after.pictures if p.time_s is not None]
    known = [p.time_s for p in before.pictures if p.time_s is not None]
    if not shown or not known or before.first_packet_s is None or before.end_s is None:
        return ["the pictures have no times, and the sound belongs nowhere"]
    problems = []
    # Before the first picture by no more than there are packets that give none.
    silent_s = max(known[0] - before.first_packet_s, 0.0)
    lead_s = shown[0] - after.sound_start_s
    length_s = after.sound_length_s
    if "avi" in names:  # sound without time stamps: silence up to the first picture
        if after.first_packet_s is not None:
            length_s -= max(after.first_packet_s - after.sound_start_s, 0.0)
        lead_s = min(lead_s, 0.0)
    if not -tolerance_s <= lead_s <= silent_s + tolerance_s:
        problems.append(f"the sound begins {lead_s:+.4f} s before the first picture")
    if not abs(length_s - duration_s) <= tolerance_s:
        problems.append(f"the sound lasts {length_s:.4f} s, expected {duration_s:.4f} s")
    shortest_s = max(known) - known[0]
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
            f" warned of {left_out}"
        )
    return problems


def _few(numbers: Iterable[int]) -> str:
    listed = list(numbers)
    return ", ".join(map(str, listed[:4])) + (f" and {len(listed) - 4} more" if listed[4:] else "")
