"""VAMA's network: masked audio segments are reconstructed from the video of the same time.

The network consists of a frame encoder (given), a temporal video encoder, an audio encoder (the
student) that sees visible segments only, and a decoder whose audio queries attend to the video.
After training, `flow_condition` computes the condition of the flow: video features, and the
decoder's states with all audio masked. Targets, losses and masks are in targets.py, losses.py and
masking.py.

Dimension letters: B batch, T video frames, S segments, L latent frames (4 S), C latent channels,
M mel frames per segment times bands, D width, E width of the contrastive space.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from foleyflow.alignment.attributes import AttributeHead, CueAttributes
from foleyflow.alignment.masking import visible_frames
from foleyflow.attention import FeedForward, TimedAttention
from foleyflow.errors import ConfigError
from foleyflow.parallel.batch_sharding import any_rank

LONGEST_GAP_S = 1.0  # longer gaps between frames count as this
# Prefixes of the tensors that depend on the target features; reinitialised for other features.
LATENT_TENSORS = ("latent_head.", "target_")
MIDDLE_TENSORS = ("encoder.middle_neighbours.",)  # of an encoder with a `middle_reach`
DEEPER_TENSORS = ("encoder.middle_pairs.", "encoder.rounds.")  # of one with more layers
ATTRIBUTE_TENSORS = ("attribute_head.",)  # those of the network that predicts attributes of cues


@dataclass(frozen=True, kw_only=True)
class AlignmentConfig:
    """Shape of VAMA's network; the defaults are those of the tiny model."""

    width: int = 192
    heads: int = 6
    video_layers: int = 3
    audio_layers: int = 2
    decoder_layers: int = 3
    segment_s: float = 0.08  # length of an audio segment
    latents_per_segment: int = 4  # frames of the target features, and of the flow's condition
    latent_channels: int = 64  # of the target features, mostly the codec's latents
    mel_frames_per_segment: int = 8  # of the student's input and of the mel target
    mel_bands: int = 64
    window_s: float = 0.6  # reach of the local half of the cross-attention heads
    materials: int = 9  # classes of the material head
    contrast_width: int = 0  # width of the contrastive space; 0 for none, as in the paper's method
    predicts_attributes: bool = False  # level, materials and friction of cues (attributes.py)

    def __post_init__(self) -> None:
        if self.width % (2 * self.heads) or self.heads % 2:
            raise ConfigError(
                f"width={self.width}, heads={self.heads}: expected an even number of heads "
                "of even width"
            )
        if self.mel_frames_per_segment < 2:
            raise ConfigError(
                f"mel_frames_per_segment={self.mel_frames_per_segment}: expected at least 2, since "
                "the first and last frame of a visible block are hidden"
            )

    @property
    def latent_rate_hz(self) -> float:
        """Latent frames per second."""
        return self.latents_per_segment / self.segment_s


@dataclass(frozen=True, kw_only=True)
class Reconstruction:
    """The decoder's output for all segments."""

    states: Tensor  # (B, S, D) hidden states
    latents: Tensor  # (B, L, C) standardised target features, mostly the codec's latents
    mel: Tensor  # (B, S, M + 1) normalised mel patch and its level
    onsets: Tensor  # (B, L) logits of an event that starts in this latent frame


@dataclass(frozen=True, kw_only=True)
class FlowCondition:
    """The aligner's condition for the flow; all times are relative to the window."""

    video: Tensor  # (B, L, D) video features F^v, interpolated to the centres of the latent frames
    states: Tensor  # (B, S, D) decoder states G with all audio masked
    onsets: Tensor  # (B, L) probability of an event that starts in this latent frame
    attributes: CueAttributes | None  # of cues, if the aligner predicts them


class SelfBlock(nn.Module):
    """Self-attention and a feed-forward network, pre-norm."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = TimedAttention(width, heads)
        self.feed = nn.Sequential(nn.LayerNorm(width), FeedForward(width))

    def forward(self, tokens: Tensor, times_s: Tensor, present: Tensor | None) -> Tensor:
        """(B, K, D) to the same shape."""
        tokens = tokens + self.attention(self.norm(tokens), times_s, key_present=present)
        return tokens + self.feed(tokens)


class CrossBlock(nn.Module):
    """Self-attention over audio, cross-attention to video and a feed-forward network, gated."""

    def __init__(self, width: int, heads: int, window_s: float) -> None:
        super().__init__()
        self.self_norm = nn.LayerNorm(width)
        self.self_attention = TimedAttention(width, heads)
        self.cross_norm = nn.LayerNorm(width)
        self.cross_attention = TimedAttention(width, heads, window_s=window_s)
        self.feed = nn.Sequential(nn.LayerNorm(width), FeedForward(width))
        self.gates = nn.Parameter(torch.full((3, width), 0.5))

    def forward(
        self,
        audio: Tensor,
        video: Tensor,
        audio_times_s: Tensor,
        video_times_s: Tensor,
        video_present: Tensor | None,
    ) -> Tensor:
        """(B, S, D) audio tokens to the same shape."""
        audio = audio + self.gates[0] * self.self_attention(self.self_norm(audio), audio_times_s)
        attended = self.cross_attention(
            self.cross_norm(audio), audio_times_s, video, video_times_s, key_present=video_present
        )
        audio = audio + self.gates[1] * attended
        return audio + self.gates[2] * self.feed(audio)


class Alignment(nn.Module):
    """Video-Audio Masking Alignment (VAMA).

    Reference: paper section 3.2, eq. 4 with frozen targets; docs/method.md, section 2.2.
    """

    target_mean: Tensor
    target_deviation: Tensor

    def __init__(
        self, config: AlignmentConfig, *, encoder: nn.Module, student: nn.Module | None = None
    ) -> None:
        """Build the network around a frame encoder, (B, T + window, 3, H, W) uint8 to (B, T, D).

        `student` is an audio encoder, (B, frames, bands) and (B, S) bool to (B, S, D); None for the
        small one of this class.
        """
        super().__init__()
        self.config, self.student, self.encoder = config, student, encoder
        width, heads = config.width, config.heads
        self.gap_embedding = nn.Linear(2, width)
        self.temporal_conv = nn.Conv1d(width, width, 5, padding=2)
        self.video_blocks = nn.ModuleList(
            SelfBlock(width, heads) for _ in range(config.video_layers)
        )
        self.video_norm = nn.LayerNorm(width)
        self.patch_size = config.mel_frames_per_segment * config.mel_bands
        if student is None:
            self.audio_input = nn.Linear(self.patch_size + config.mel_frames_per_segment, width)
            self.audio_blocks = nn.ModuleList(
                SelfBlock(width, heads) for _ in range(config.audio_layers)
            )
        self.mask_token = nn.Parameter(0.02 * torch.randn(width))
        self.decoder_blocks = nn.ModuleList(
            CrossBlock(width, heads, config.window_s) for _ in range(config.decoder_layers)
        )
        self.state_norm = nn.LayerNorm(width)
        per_segment = config.latents_per_segment
        self.latent_head = nn.Linear(width, per_segment * config.latent_channels)
        self.mel_head = nn.Linear(width, self.patch_size + 1)
        self.onset_head = nn.Linear(width, per_segment)
        self.direct_onset_head = nn.Linear(width, 1)
        self.pool = nn.Linear(width, 1)
        self.material_head = nn.Linear(width, config.materials)
        self.attribute_head = None
        if config.predicts_attributes:
            self.attribute_head = AttributeHead(
                width, latents_per_segment=per_segment, materials=config.materials
            )
        if config.contrast_width:
            self.video_projection = nn.Linear(width, config.contrast_width)
            self.audio_projection = nn.Linear(width, config.contrast_width)
            self.log_sharpness = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        self.register_buffer("target_mean", torch.zeros(config.latent_channels))
        self.register_buffer("target_deviation", torch.ones(config.latent_channels))

    def encode_video(self, pixels: Tensor, *, present: Tensor | None = None) -> Tensor:
        """Features of each frame by the frame encoder, (B, T, D), without temporal context.

        Takes (B, T + window, 3, S, S) uint8, or the input of another frame encoder. Features of
        padding, where `present` (B, T) is False, are zero.
        """
        features = self.encoder(pixels)
        return features if present is None else features * present[..., None]

    def add_temporal_context(
        self, features: Tensor, times_s: Tensor, present: Tensor | None = None
    ) -> Tensor:
        """Features (B, T, D) from `encode_video` to F^v of the same shape, by self-attention."""
        # Gaps to the neighbouring frames, relative to 25 fps
        gaps = torch.log(frame_gaps(times_s, present) * 25.0)
        # Convolution over neighbouring frames, then self-attention
        mixed = self.temporal_conv(nn.functional.gelu(features).transpose(1, 2)).transpose(1, 2)
        tokens = features + mixed + self.gap_embedding(gaps)
        for block in self.video_blocks:
            tokens = block(tokens, times_s, present)
        return self.video_norm(tokens)

    def encode_audio(self, mel: Tensor, visible: Tensor | None = None) -> Tensor:
        """Features of the visible segments by the audio encoder (the student).

        Takes (B, S * mel_frames_per_segment, mel_bands) log-mel and (B, S) bool, None if all
        segments are visible. Returns (B, S, D), undefined for masked segments.
        """
        per_segment = self.config.mel_frames_per_segment
        if visible is None:
            segments = mel.shape[1] // per_segment
            visible = torch.ones(len(mel), segments, dtype=torch.bool, device=mel.device)
        if self.student is not None:
            return self.student(mel, visible)
        # Patches of visible frames, with flags of the frames that are visible
        frames = visible_frames(visible, per_segment)
        patches = (mel * frames[..., None]).reshape(*visible.shape, self.patch_size)
        flags = frames.reshape(*visible.shape, per_segment).to(patches.dtype)
        tokens = self.audio_input(torch.cat([patches, flags], -1))
        # Self-attention over the visible segments
        times_s = self.segment_times_s(visible.shape[1], mel).expand(len(mel), -1)
        for block in self.audio_blocks:
            tokens = block(tokens, times_s, visible)
        return tokens

    def reconstruct(
        self,
        video: Tensor,
        video_times_s: Tensor,
        *,
        segments: int,
        mel: Tensor | None = None,
        visible: Tensor | None = None,
        present: Tensor | None = None,
    ) -> Reconstruction:
        """Reconstruct all segments from the video and the visible segments.

        Args:
            video, video_times_s: F^v (B, T, D) and its times (B, T).
            segments: S.
            mel: (B, S * mel_frames_per_segment, mel_bands) log-mel of the true audio.
            visible: (B, S) bool. Without it and `mel`, all segments are masked.
            present: (B, T) bool.
        """
        batch = len(video)
        # Audio queries: encoded visible segments, and a learned token for masked ones
        audio_times_s = self.segment_times_s(segments, video).expand(batch, -1)
        tokens = self.mask_token.expand(batch, segments, -1)
        if mel is not None and visible is not None and any_rank(visible):
            tokens = torch.where(visible[..., None], self.encode_audio(mel, visible), tokens)
        # Decoder with cross-attention to the video
        for block in self.decoder_blocks:
            tokens = block(tokens, video, audio_times_s, video_times_s, present)
        states = self.state_norm(tokens)
        latents = self.latent_head(states).float()
        # Onset logits also get a short gradient path to the video features of the same time
        latent_times_s = self.latent_times_s(segments, video)
        aligned = interpolate_in_time(video, video_times_s, latent_times_s, present=present)
        direct = self.direct_onset_head(aligned)[..., 0].float()
        return Reconstruction(
            states=states,
            latents=latents.reshape(batch, -1, self.config.latent_channels),
            mel=self.mel_head(states).float(),
            onsets=self.onset_head(states).float().flatten(1) + direct,
        )

    def classify_material(self, video: Tensor, present: Tensor | None = None) -> Tensor:
        """(B, T, D) F^v to (B, materials) logits of the struck material, by attention pooling."""
        return self.material_head(self._pool(video, present)).float()

    def predict_attributes(
        self, video: Tensor, times_s: Tensor, states: Tensor, present: Tensor | None = None
    ) -> CueAttributes | None:
        """Attributes of cues in each latent frame; None if the aligner does not predict them.

        Takes F^v (B, T, D), its times (B, T), and states (B, S, D) with all audio masked.
        """
        if self.attribute_head is None:
            return None
        latent_times_s = self.latent_times_s(states.shape[1], video)
        aligned = interpolate_in_time(video, times_s, latent_times_s, present=present)
        return self.attribute_head(aligned, states, self._pool(video, present))

    def _pool(self, video: Tensor, present: Tensor | None) -> Tensor:
        """(B, T, D) F^v to features of the complete window (B, D), by attention pooling."""
        scores = self.pool(video).float()
        if present is not None:
            scores = scores.masked_fill(~present[..., None], -1e4)
        return (scores.softmax(1).to(video.dtype) * video).sum(1)

    def flow_condition(self, features: Tensor, times_s: Tensor, *, segments: int) -> FlowCondition:
        """The condition of the flow for one window of S `segments`.

        Takes features (B, T, D) from `encode_video`, and their times (B, T) in the window.
        """
        video = self.add_temporal_context(features, times_s)
        decoded = self.reconstruct(video, times_s, segments=segments)
        return FlowCondition(
            video=interpolate_in_time(video, times_s, self.latent_times_s(segments, video)),
            states=decoded.states,
            onsets=decoded.onsets.sigmoid(),
            attributes=self.predict_attributes(video, times_s, decoded.states),
        )

    def segment_times_s(self, segments: int, like: Tensor) -> Tensor:
        """Centres of a window's segments, (S,) seconds, on the device of `like`."""
        return (torch.arange(segments, device=like.device) + 0.5) * self.config.segment_s

    def latent_times_s(self, segments: int, like: Tensor) -> Tensor:
        """Centres of a window's latent frames, (L,) seconds, on the device of `like`."""
        count = segments * self.config.latents_per_segment
        return (torch.arange(count, device=like.device) + 0.5) / self.config.latent_rate_hz


def frame_gaps(times_s: Tensor, present: Tensor | None = None) -> Tensor:
    """Time from each frame to the previous and to the next one, (B, T, 2), at most LONGEST_GAP_S.

    The first and the last frame use the gap on their other side for the missing one; a single frame
    has the longest gap on both sides. `present` (B, T) is True for the first frames of each sample.
    """
    if times_s.shape[1] == 1:
        return torch.full_like(times_s, LONGEST_GAP_S)[..., None].expand(-1, -1, 2)
    gaps_s = torch.diff(times_s, dim=1).clamp(1e-3, LONGEST_GAP_S)
    if present is not None:
        # Gaps to padding are replaced by the last gap between frames
        count = present.sum(1, keepdim=True)
        last = gaps_s.gather(1, (count - 2).clamp_min(0))
        last = torch.where(count < 2, torch.full_like(last, LONGEST_GAP_S), last)
        gaps_s = torch.where(present[:, 1:], gaps_s, last)
    before = torch.cat([gaps_s[:, :1], gaps_s], 1)
    after = torch.cat([gaps_s, gaps_s[:, -1:]], 1)
    return torch.stack([before, after], -1)


def interpolate_in_time(
    values: Tensor, times_s: Tensor, wanted_s: Tensor, *, present: Tensor | None = None
) -> Tensor:
    """Linear interpolation along time, constant beyond the ends.

    Values (B, T, D) at increasing times (B, T) to (B, L, D) at the wanted times (L,). `present`
    (B, T) is True for the first frames of each sample.
    """
    count = times_s.shape[1]
    if count == 1:
        return values.expand(-1, len(wanted_s), -1)
    # Neighbouring frames of each wanted time, and the weight of the right one
    targets = wanted_s.to(times_s.dtype).expand(len(times_s), -1).contiguous()
    right = torch.searchsorted(times_s.contiguous(), targets).clamp(1, count - 1)
    left = right - 1
    start, end = times_s.gather(1, left), times_s.gather(1, right)
    weight = ((targets - start) / (end - start).clamp_min(1e-6)).clamp(0, 1)[..., None]
    if present is not None:
        # Constant after the last frame that is present
        last = present.sum(1, keepdim=True) - 1
        weight = weight * (right <= last)[..., None]
        left = torch.minimum(left, last)

    def take(indices: Tensor) -> Tensor:
        return values.gather(1, indices[..., None].expand(-1, -1, values.shape[-1]))

    return take(left) * (1 - weight).to(values.dtype) + take(right) * weight.to(values.dtype)
