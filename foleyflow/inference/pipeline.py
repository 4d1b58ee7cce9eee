"""A silent video in, its sound out: the whole way on one page.

    frames --encoder--> features --alignment--> guidance --flow--> latents --codec--> sound --> file

Everything streams: pictures come in as they are needed, sound goes to a spool, so a video of any
length takes the same memory. Frames are decoded and encoded in two threads of their own while the
caller's aligns, generates and decodes latents. The first file to read.
"""

from __future__ import annotations

import tempfile
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from foleyflow.alignment.model import Alignment
from foleyflow.clock import count_at
from foleyflow.codec.autoencoder import Codec
from foleyflow.codec.streaming import decode_stream
from foleyflow.encoders.frame_adapter import AdaptedVideo
from foleyflow.encoders.motion_encoder import MotionEncoder
from foleyflow.errors import ConfigError
from foleyflow.flow.transformer import FlowTransformer
from foleyflow.inference.latent_generation import (
    GUESS_WINDOWS,
    Piece,
    Stopwatch,
    WindowPlan,
    choose_material,
    generate_latents,
    material_of_clip,
)
from foleyflow.media import (
    FrameStream,
    LoudnessMeter,
    MediaInfo,
    fit_blocks,
    loudness_gain,
    mux,
    peak_gain,
    probe,
    read_frames,
    read_shaped_frames,
    write_wav,
)
from foleyflow.parallel.precision import precision_on
from foleyflow.parallel.threads import default_threads, torch_threads
from foleyflow.pretrained import (
    load_codec,
    load_flow,
    load_seeing_aligner,
    model_folder,
    trained_path,
    trained_segments,
)
from foleyflow.signals import Event, Waveform
from foleyflow.system.allocator import release_freed_memory

DEFAULT_LUFS = -23.0
DEFAULT_GUIDANCE = 2.5  # better than 1 on simulated and real clips, see docs/results.md
HELD_IN_MEMORY_BYTES = 2 * 2**20  # sound beyond this, 11 s, goes to a temporary file
# Videos beyond this give freed memory back window by window, so that their length does not matter;
# in shorter ones it would only cost time.
RELEASE_AFTER_S = 20.0
BLOCK_SAMPLES = 48_000
QUIETEST_EVENT = 0.02  # of the loudest event's level


class SoundSpool:
    """Mono sound of any length: short in memory, long in a temporary file."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(max_size=HELD_IN_MEMORY_BYTES)
        weakref.finalize(self, self._file.close)
        self.samples = 0
        self.peak = 0.0

    def append(self, block: NDArray[np.float32]) -> None:
        """Adds (n,) samples."""
        self._file.write(np.ascontiguousarray(block, np.float32).tobytes())
        self.samples += len(block)
        self.peak = max(self.peak, float(np.abs(block).max(initial=0.0)))

    def blocks(self, gain: float) -> Iterator[NDArray[np.float32]]:
        """All samples times `gain`, in (1, n) pieces."""
        self._file.seek(0)
        while data := self._file.read(4 * BLOCK_SAMPLES):
            yield np.frombuffer(data, np.float32)[None] * np.float32(gain)
        self._file.seek(0, 2)


@dataclass(frozen=True, kw_only=True)
class Generated:
    """What `FoleyFlow.generate` made.

    Attributes:
        info: the video it was made for.
        sample_rate_hz: of the sound.
        sample_count: length of the sound; the video's length, rounded to the sample.
        events: what the video was found to show, in the order of time.
        material_guess: the most likely struck material by the clip's first minute, and its
            probability; None for a model that was told none.
        settings: seed, steps, guidance, material, loudness, model and threads.
        timings_s: seconds in each part, and "total", which passed in all: decoding and encoding run
            at the same time as the parts after them, so that the parts' sum may exceed it.
        warnings: what a user should know; `save` adds what the output's format can't hold.
    """

    info: MediaInfo
    sample_rate_hz: int
    sample_count: int
    events: tuple[Event, ...]
    material_guess: tuple[str, float] | None
    settings: dict[str, object]
    timings_s: dict[str, float]
    warnings: list[str]
    _spool: SoundSpool = field(repr=False)
    _gain: float = field(repr=False)

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """The sound in (1, n) float32 pieces, `sample_count` samples in all."""
        return fit_blocks(self._spool.blocks(self._gain), self.sample_count)

    @property
    def waveform(self) -> NDArray[np.float32]:
        """The whole sound, (sample_count,) float32, mono, full scale at -1..1."""
        return np.concatenate([block[0] for block in self.blocks()])

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Writes the video with its sound, or the sound alone where the name ends in .wav.

        Raises:
            MediaError: the output exists or can't be written.
        """
        path = Path(path)
        began_s = time.perf_counter()
        if path.suffix.lower() == ".wav":
            write_wav(path, self.blocks(), self.sample_rate_hz, overwrite=overwrite)
        else:
            report = mux(
                self.info.path,
                path,
                self.blocks(),
                rate_hz=self.sample_rate_hz,
                n_samples=self.sample_count,
                overwrite=overwrite,
                info=self.info,
            )
            self.warnings.extend(report.dropped)
        self.timings_s["mux"] = time.perf_counter() - began_s
        self.timings_s["total"] = self.timings_s.get("total", 0.0) + self.timings_s["mux"]
        return path

    def as_waveform(self) -> Waveform:
        """The whole sound as a `Waveform`."""
        return Waveform(samples=self.waveform[None], rate_hz=self.sample_rate_hz)


class FoleyFlow:
    """A codec, an aligner and a flow that belong together."""

    def __init__(
        self,
        codec: Codec,
        aligner: Alignment,
        flow: FlowTransformer,
        *,
        name: str,
        plan: WindowPlan | None = None,
        path: str = "linear",
        threads: int | None = None,
    ) -> None:
        """Takes networks in eval mode, all on one device.

        Args:
            codec, aligner, flow: the networks.
            name: of the model, for answers and errors.
            plan: windows as the flow's training had them; None for those of the embedded model.
            path: that of the flow's training.
            threads: of one operation of torch during `generate`; None or 0 decides by the
                networks' size, see `default_threads`. Another number may round otherwise.

        Raises:
            ConfigError: their latents or rates don't fit, or a negative number of threads.
        """
        rates = {
            "codec": codec.config.latent_rate_hz,
            "align": aligner.config.latent_rate_hz,
            "flow": flow.config.latent_rate_hz,
        }
        channels = {codec.config.channels, flow.config.channels}
        widths = {aligner.config.width, flow.config.guide_width}
        segments = {aligner.config.latents_per_segment, flow.config.latents_per_segment}
        if max(map(len, (set(rates.values()), channels, widths, segments))) > 1:
            raise ConfigError(
                f"model {name!r}: latent rates {rates} Hz, channels {sorted(channels)}, widths of "
                f"guidance {sorted(widths)}, latents a segment {sorted(segments)}: expected one "
                "of each",
                hint="codec, align and flow must come from the same training",
            )
        self.codec, self.aligner, self.flow = codec, aligner, flow
        self.name = name
        self.plan, self.path = plan or WindowPlan(), path
        if threads is not None and threads < 0:
            raise ConfigError(
                f"threads={threads}: expected 0 or more",
                hint="None and 0 decide by the model's size",
            )
        networks = (codec, aligner, flow)
        parameters = sum(p.numel() for network in networks for p in network.parameters())
        self.threads = threads or default_threads(parameters)

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path | None = None,
        *,
        device: str = "auto",
        weights_dir: str | Path | None = None,
        threads: int | None = None,
    ) -> FoleyFlow:
        """Loads a model.

        Args:
            source: None or "embedded" for the one that ships with foleyflow, or a model folder.
            device: "auto", "cpu", "cuda" or "cuda:N".
            weights_dir: where the published encoder's weights lie that the model sees through, if
                it is such a one; None for ~/.cache/foleyflow/encoders.
            threads: of one operation, as the constructor takes them.

        Raises:
            CheckpointError: missing, damaged or foreign weights.
            ConfigError: the device can't be used.
        """
        folder = model_folder(source)
        where = pick_device(device)
        aligner = load_seeing_aligner(folder, None if weights_dir is None else Path(weights_dir))
        if isinstance(aligner.encoder, MotionEncoder):
            aligner.encoder.to(memory_format=torch.channels_last)
        return cls(
            load_codec(folder).to(where),
            aligner.to(where),
            load_flow(folder).to(where),
            name=str(source or "embedded"),
            plan=trained_plan(folder),
            path=trained_path(folder),
            threads=threads,
        )

    @property
    def materials(self) -> tuple[str, ...]:
        """Labels that `generate` takes as `material`."""
        return self.flow.config.material_names

    def generate(
        self,
        video: str | Path | MediaInfo,
        *,
        seed: int = 0,
        steps: int = 1,
        guidance: float = DEFAULT_GUIDANCE,
        material: str | None = None,
        loudness_lufs: float | None = DEFAULT_LUFS,
        progress: Callable[[float], None] | None = None,
    ) -> Generated:
        """Makes the sound of a video.

        Args:
            video: any file that PyAV can decode, or what `probe` said of it.
            seed: the same seed gives the same samples on the same device in the same precision.
            steps: network evaluations of the flow per window; 1 is the product's normal way.
            guidance: how strongly the video rules, 1 to about 4.
            material: one of `materials`, or None to let the picture decide.
            loudness_lufs: integrated loudness to bring the sound to, or None to leave it.
            progress: called with the seconds of video done.

        Returns:
            `Generated`; nothing is written yet.

        Raises:
            MediaError: the video can't be used.
            ConfigError: a setting is out of range.
        """
        label = self._label(material)
        if steps < 1 or not 1.0 <= guidance <= 20.0 or seed < 0:
            raise ConfigError(
                f"seed={seed}, steps={steps}, guidance={guidance}: expected seed >= 0, "
                "steps >= 1, guidance from 1 to 20",
                hint=f"seed=0, steps=1, guidance={DEFAULT_GUIDANCE:g} is the normal way",
            )
        began_s = time.perf_counter()
        watch = Stopwatch({})
        info = video if isinstance(video, MediaInfo) else probe(video)
        frames = shown_frames(info, self.aligner)
        notes = _Notes()

        def on_window(done_s: float) -> None:
            if done_s > RELEASE_AFTER_S:
                release_freed_memory()
            if progress is not None:
                progress(done_s)

        latents = generate_latents(
            self.aligner,
            self.flow,
            frames,
            duration_s=info.duration_s,
            seed=seed,
            steps=steps,
            guidance=guidance,
            material=label,
            guess_material=material is None and bool(self.materials),
            plan=self.plan,
            path=self.path,
            watch=watch,
            on_window=on_window,
        )
        spool, meter = SoundSpool(), LoudnessMeter(self.codec.config.rate_hz, 1)
        levels: list[NDArray[np.float32]] = []
        hop = self.codec.config.hop_samples
        # The threads behind `latents` end with the loop, however it ends.
        with torch_threads(self.threads), closing(latents):
            for block in self._decoded(latents, notes, watch):
                spool.append(block)
                meter.add(block[None])
                levels.append(np.abs(block.reshape(-1, hop)).max(axis=1))
        gain = 1.0
        if loudness_lufs is not None:
            gain = loudness_gain(meter.integrated_lufs(), loudness_lufs)
        gain *= peak_gain(spool.peak * gain)
        seconds = watch.seconds
        seconds["total"] = time.perf_counter() - began_s
        warnings = [*info.warnings, *frames.counts.warnings()]
        guess = None
        if self.materials:
            probable = material_of_clip(notes.materials)
            chosen = choose_material(probable, self.materials)
            guess = (self.materials[chosen], float(probable[chosen]))
        return Generated(
            info=info,
            sample_rate_hz=self.codec.config.rate_hz,
            sample_count=max(1, count_at(info.duration_s, self.codec.config.rate_hz)),
            events=events_in_sound(
                notes.moments_s,
                np.concatenate(levels),
                rate_hz=self.codec.config.latent_rate_hz,
                duration_s=info.duration_s,
            ),
            material_guess=guess,
            settings={
                "model": self.name,
                "seed": seed,
                "steps": steps,
                "guidance": guidance,
                "material": material or "auto",
                "loudness_lufs": loudness_lufs,
                "precision": precision_on(next(self.aligner.parameters()).device),
                "threads": self.threads,
            },
            timings_s=seconds,
            warnings=warnings,
            _spool=spool,
            _gain=gain,
        )

    def _label(self, material: str | None) -> int:
        if material is None:
            return 0
        if material not in self.materials:
            known = f"auto or one of {', '.join(self.materials)}" if self.materials else "auto"
            raise ConfigError(
                f"material {material!r}: expected {known}",
                hint="auto lets the picture decide",
            )
        return 1 + self.materials.index(material)

    @torch.inference_mode()
    def _decoded(
        self, latents: Iterator[Piece], notes: _Notes, watch: Stopwatch
    ) -> Iterator[NDArray[np.float32]]:
        """Sound of the pieces, which are noted on their way."""
        waited_s = 0.0  # for pieces, since the last block

        def noted() -> Iterator[torch.Tensor]:
            nonlocal waited_s
            began_s = time.perf_counter()
            for piece in latents:
                waited_s += time.perf_counter() - began_s
                notes.add(piece)
                yield piece.latents
                began_s = time.perf_counter()
            waited_s += time.perf_counter() - began_s

        stream = decode_stream(self.codec, noted())
        while True:
            began_s, waited_s = time.perf_counter(), 0.0
            block = next(stream, None)
            watch.count("codec", began_s + waited_s)
            if block is None:
                return
            yield block[0].float().cpu().numpy()


@dataclass
class _Notes:
    """What is kept of the pieces: not their latents, which would grow with the video.

    Attributes:
        moments_s: of all events, ascending.
        materials: probabilities of the first `GUESS_WINDOWS` windows.
    """

    moments_s: list[float] = field(default_factory=list)
    materials: list[NDArray[np.float32]] = field(default_factory=list)

    def add(self, piece: Piece) -> None:
        """Notes one piece."""
        self.moments_s += piece.events_s
        if len(self.materials) < GUESS_WINDOWS:
            self.materials.append(piece.material)


def trained_plan(flow_folder: Path) -> WindowPlan:
    """How a clip is cut for a flow: as its training had it, or as for the embedded model.

    Source: ours.
    """
    return WindowPlan.of_length(trained_segments(flow_folder) or WindowPlan.length)


def shown_frames(info: MediaInfo, aligner: Alignment) -> FrameStream:
    """The frames of a video as an aligner's encoder wants to see them.

    Args:
        info: of the video.
        aligner: of `load_seeing_aligner`.

    Returns:
        An iterator of (seconds, (S, S, 3) uint8 RGB) with `counts` of losses.

    Source: ours.
    """
    encoder = aligner.encoder
    if isinstance(encoder, MotionEncoder):
        return read_frames(info.path, size=encoder.config.size, info=info)
    if not isinstance(encoder, AdaptedVideo):
        raise ConfigError(
            "the aligner sees stored features",
            hint="load_seeing_aligner puts its published encoder before it",
        )
    frozen = encoder.frozen

    def square(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        shown = frozen.squares(torch.from_numpy(picture).permute(2, 0, 1)[None])
        return shown[0].permute(1, 2, 0).numpy()

    whole = read_shaped_frames(info.path, max_rate_hz=encoder.rate_hz, info=info)
    return FrameStream(((time_s, square(picture)) for time_s, picture in whole), whole.counts)


def pick_device(name: str) -> torch.device:
    """A device by its name; "auto" is CUDA where there is one.

    Raises:
        ConfigError: unknown, or not available here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    hint = "--device auto takes the best that is there"
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")  # no such device
    if device.type not in ("cpu", "cuda"):
        raise ConfigError(f"device {name!r}: expected auto, cpu, cuda or cuda:N", hint=hint)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        found = torch.cuda.device_count() or "no usable"
        raise ConfigError(f"device {name!r}: {found} CUDA device(s) here", hint=hint)
    return device


def events_in_sound(
    moments_s: Sequence[float],
    levels: NDArray[np.float32],
    *,
    rate_hz: float,
    duration_s: float,
) -> tuple[Event, ...]:
    """Events that can be heard, with how loud they are.

    Args:
        moments_s: ascending seconds on the clip's clock.
        levels: (T,) peak level of the sound per latent frame.
        rate_hz: latent frames per second.
        duration_s: events after it are left out.

    Returns:
        Events; strength is the level within 60 ms of the event over that of the loudest one.

    Source: ours.
    """
    found: list[tuple[float, float]] = []
    for moment_s in moments_s:
        if moment_s < duration_s:
            frame = int(moment_s * rate_hz)
            level = float(levels[max(0, frame - 1) : frame + 4].max(initial=0.0))
            found.append((moment_s, level))
    loudest = max((level for _, level in found), default=0.0)
    return tuple(
        Event(time_s=time_s, strength=level / loudest)
        for time_s, level in found
        if loudest > 0 and level >= QUIETEST_EVENT * loudest
    )
