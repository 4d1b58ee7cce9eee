"""VAMA: hidden audio segments are recovered from the video of the same moment.

The network has a temporal video encoder on top of a frame encoder it is given, a student audio
encoder that sees only visible segments, and a decoder whose audio queries attend to video. After
training, `guide` gives what the flow needs: features per video moment and the decoder's states
with all audio hidden. Targets, losses and masks are made elsewhere (targets.py, losses.py,
masking.py).

Dimension letters: B batch, T video frames, S segments, L latent frames (4 S), C latent channels,
M mel frames per segment times bands, D width, E width of the contrast space.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from foleyflow.alignment.masking import visible_frames
from foleyflow.attention import FeedForward, TimedAttention
from foleyflow.errors import ConfigError
from foleyflow.parallel.batch_sharding import any_rank

LONGEST_GAP_S = 1.0  # frames further apart count as this far apart
# How the names of tensors begin that know the recovered features: others need others.
LATENT_TENSORS = ("latent_head.", "target_")


@dataclass(frozen=True, kw_only=True)
class AlignmentConfig:
    """Shape of VAMA; defaults are the tiny model's.

    Attributes:
        width: of all tokens.
        heads: of all attention.
        video_layers, audio_layers, decoder_layers: transformer blocks of each part.
        segment_s: length of an audio segment.
        latents_per_segment: frames of the recovered features in a segment; what stage two gets
            has their rate.
        latent_channels: of these features (the codec's latents, or whatever is recovered).
        mel_frames_per_segment, mel_bands: of the student's input and the mel target.
        window_s: half of the cross-attention heads see video within this distance only.
        materials: classes of the material head.
        contrast_width: of the space where sound and video are compared; 0 for none (the paper's
            method compares nothing).
    """

    width: int = 192
    heads: int = 6
    video_layers: int = 3
    audio_layers: int = 2
    decoder_layers: int = 3
    segment_s: float = 0.08
    latents_per_segment: int = 4
    latent_channels: int = 48
    mel_frames_per_segment: int = 8
    mel_bands: int = 64
    window_s: float = 0.6
    materials: int = 9
    contrast_width: int = 0

    def __post_init__(self) -> None:
        if self.width % (2 * self.heads) or self.heads % 2:
            raise ConfigError(
                f"width={self.width}, heads={self.heads}: expected an even number of heads "
                "of even width"
            )

    @property
    def latent_rate_hz(self) -> float:
        """Latent frames per second."""
        return self.latents_per_segment / self.segment_s


@dataclass(frozen=True, kw_only=True)
class Recovered:
    """What the decoder says of every segment.

    Attributes:
        states: (B, S, D) hidden states.
        latents: (B, L, C) standardised features (targets.py), the codec's latents mostly.
        mel: (B, S, mel_frames * mel_bands + 1) normalised mel patch and its energy.
        onsets: (B, L) logits of an event that starts in this latent frame.
    """

    states: Tensor
    latents: Tensor
    mel: Tensor
    onsets: Tensor


@dataclass(frozen=True, kw_only=True)
class FlowCondition:
    """What stage two receives, all on the clip's clock (method section B.7).

    Attributes:
        video: (B, L, D) F^v, interpolated to the latent frames' centres.
        states: (B, S, D) G, decoder states with all audio hidden.
        onsets: (B, L) probability of an event that starts in this latent frame.
        materials: (B, materials) probabilities of the struck material.
    """

    video: Tensor
    states: Tensor
    onsets: Tensor
    materials: Tensor


class SelfBlock(nn.Module):
    """Self-attention and a feed-forward network, pre-norm."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = TimedAttention(width, heads)
        self.feed = nn.Sequential(nn.LayerNorm(width), FeedForward(width))

    def forward(self, tokens: Tensor, times_s: Tensor, present: Tensor | None) -> Tensor:
        """(B, K, D) to the same shape."""
        normed = self.norm(tokens)
        tokens = tokens + self.attention(
            normed, normed, query_times_s=times_s, key_times_s=times_s, key_present=present
        )
        return tokens + self.feed(tokens)


class CrossBlock(nn.Module):
    """Self-attention over audio, cross-attention to video, feed-forward, each scaled."""

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
        normed = self.self_norm(audio)
        audio = audio + self.gates[0] * self.self_attention(
            normed, normed, query_times_s=audio_times_s, key_times_s=audio_times_s
        )
        audio = audio + self.gates[1] * self.cross_attention(
            self.cross_norm(audio),
            video,
            query_times_s=audio_times_s,
            key_times_s=video_times_s,
            key_present=video_present,
        )
        return audio + self.gates[2] * self.feed(audio)


class Alignment(nn.Module):
    """Video-Audio Masking Alignment.

    Source: paper section 3.2, eq. 4 with frozen targets; method sections B.2 to B.7.
    """

    def __init__(
        self, config: AlignmentConfig, *, encoder: nn.Module, student: nn.Module | None = None
    ) -> None:
        """Takes the frame encoder: (B, T + window, 3, H, W) uint8 to (B, T, D).

        `student` hears visible segments: (B, frames, bands) and (B, S) bool to (B, S, D); without
        one the model has a small one of its own.
        """
        super().__init__()
        self.config = config
        self.student = student
        width, heads = config.width, config.heads
        self.encoder = encoder
        self.spacing = nn.Linear(2, width)
        self.nearby = nn.Conv1d(width, width, 5, padding=2)
        self.video_blocks = nn.ModuleList(
            SelfBlock(width, heads) for _ in range(config.video_layers)
        )
        self.video_norm = nn.LayerNorm(width)
        self.patch_size = config.mel_frames_per_segment * config.mel_bands
        if student is None:
            self.audio_enter = nn.Linear(self.patch_size + config.mel_frames_per_segment, width)
            self.audio_blocks = nn.ModuleList(
                SelfBlock(width, heads) for _ in range(config.audio_layers)
            )
        self.hidden_token = nn.Parameter(0.02 * torch.randn(width))
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
        if config.contrast_width:
            self.video_projection = nn.Linear(width, config.contrast_width)
            self.audio_projection = nn.Linear(width, config.contrast_width)
            self.log_sharpness = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        self.register_buffer("target_mean", torch.zeros(config.latent_channels))
        self.register_buffer("target_deviation", torch.ones(config.latent_channels))

    def watch(self, pixels: Tensor, times_s: Tensor, present: Tensor | None = None) -> Tensor:
        """The frame encoder's features of consecutive frames, without looking along time.

        Args:
            pixels: (B, T + window, 3, S, S) uint8.
            times_s: (B, T) seconds (unused by the tiny encoder; part of the encoder's contract).
            present: (B, T) bool, False for padding.

        Returns:
            (B, T, D).
        """
        features = self.encoder(pixels)
        return features if present is None else features * present[..., None]

    def contextualise(
        self, features: Tensor, times_s: Tensor, present: Tensor | None = None
    ) -> Tensor:
        """Per-frame features to F^v: each frame knows what comes before and after it.

        Args:
            features: (B, T, D) from `watch`.
            times_s: (B, T) seconds.
            present: (B, T) bool.

        Returns:
            (B, T, D).
        """
        spacing = torch.log(frame_gaps(times_s, present) * 25.0)
        nearby = self.nearby(nn.functional.gelu(features).transpose(1, 2)).transpose(1, 2)
        tokens = features + nearby + self.spacing(spacing)
        for block in self.video_blocks:
            tokens = block(tokens, times_s, present)
        return self.video_norm(tokens)

    def recover(
        self,
        video: Tensor,
        video_times_s: Tensor,
        *,
        mel: Tensor | None,
        kept: Tensor | None,
        segments: int,
        present: Tensor | None = None,
    ) -> Recovered:
        """Recovers all segments from the video and the visible ones.

        Args:
            video: (B, T, D) F^v.
            video_times_s: (B, T) seconds.
            mel: (B, S * mel_frames_per_segment, mel_bands) log-mel of the true sound, or None
                where all segments are hidden.
            kept: (B, S) bool, True where a segment is visible; None if all are hidden.
            segments: S.
            present: (B, T) bool.

        Returns:
            `Recovered`.
        """
        batch = len(video)
        audio_times_s = self.segment_times_s(segments, video).expand(batch, -1)
        tokens = self.hidden_token.expand(batch, segments, -1)
        if mel is not None and kept is not None and any_rank(kept):
            seen = self.listen(mel, kept)
            tokens = torch.where(kept[..., None], seen, tokens)
        for block in self.decoder_blocks:
            tokens = block(tokens, video, audio_times_s, video_times_s, present)
        states = self.state_norm(tokens)
        latents = self.latent_head(states).float()
        # An event shows in the video features of its own moment: a short way for its gradient.
        moments_s = self.latent_times_s(segments, video)
        aligned = interpolate_in_time(video, video_times_s, moments_s, present=present)
        direct = self.direct_onset_head(aligned)[..., 0].float()
        return Recovered(
            states=states,
            latents=latents.reshape(batch, -1, self.config.latent_channels),
            mel=self.mel_head(states).float(),
            onsets=self.onset_head(states).float().flatten(1) + direct,
        )

    def classify(self, video: Tensor, present: Tensor | None = None) -> Tensor:
        """(B, T, D) F^v to (B, materials) logits of the struck material."""
        scores = self.pool(video).float()
        if present is not None:
            scores = scores.masked_fill(~present[..., None], -1e4)
        return self.material_head((scores.softmax(1).to(video.dtype) * video).sum(1)).float()

    def guide(self, features: Tensor, times_s: Tensor, *, segments: int) -> FlowCondition:
        """What stage two receives for one window of video.

        Args:
            features: (B, T, D) from `watch`.
            times_s: (B, T) seconds from the window's start.
            segments: S of the window.

        Returns:
            `Guidance`.
        """
        video = self.contextualise(features, times_s)
        recovered = self.recover(video, times_s, mel=None, kept=None, segments=segments)
        return FlowCondition(
            video=interpolate_in_time(video, times_s, self.latent_times_s(segments, video)),
            states=recovered.states,
            onsets=recovered.onsets.sigmoid(),
            materials=self.classify(video).softmax(-1),
        )

    def segment_times_s(self, segments: int, like: Tensor) -> Tensor:
        """Centres of the segments of a window, (S,) seconds, on the device of `like`."""
        return (torch.arange(segments, device=like.device) + 0.5) * self.config.segment_s

    def latent_times_s(self, segments: int, like: Tensor) -> Tensor:
        """Centres of the latent frames of a window, (L,) seconds, on the device of `like`."""
        count = segments * self.config.latents_per_segment
        return (torch.arange(count, device=like.device) + 0.5) / self.config.latent_rate_hz

    def listen(self, mel: Tensor, kept: Tensor | None = None) -> Tensor:
        """The student audio encoder, which hears visible frames of visible segments only.

        Args:
            mel: (B, S * mel_frames_per_segment, mel_bands) log-mel.
            kept: (B, S) bool, True where a segment is visible; None if all are.

        Returns:
            (B, S, D); of no meaning where a segment is hidden.

        Source: paper section 3.2; method section B.3.
        """
        per_segment = self.config.mel_frames_per_segment
        if kept is None:
            segments = mel.shape[1] // per_segment
            kept = torch.ones(len(mel), segments, dtype=torch.bool, device=mel.device)
        if self.student is not None:
            heard: Tensor = self.student(mel, kept)
            return heard
        visible = visible_frames(kept, per_segment)
        shown = (mel * visible[..., None]).reshape(*kept.shape, self.patch_size)
        flags = visible.reshape(*kept.shape, per_segment).to(shown.dtype)
        tokens = self.audio_enter(torch.cat([shown, flags], -1))
        times_s = self.segment_times_s(kept.shape[1], mel).expand(len(mel), -1)
        for block in self.audio_blocks:
            tokens = block(tokens, times_s, kept)
        return tokens


def frame_gaps(times_s: Tensor, present: Tensor | None = None) -> Tensor:
    """Time from each frame to the one before and to the one after it.

    The first and the last frame of a row take the gap on their other side for the missing one; a
    frame that is alone has the longest gap on both.

    Args:
        times_s: (B, T) increasing seconds.
        present: (B, T) bool, True for the first frames of each row; None if all are present.

    Returns:
        (B, T, 2) seconds, LONGEST_GAP_S at most.

    Source: ours.
    """
    if times_s.shape[1] == 1:
        return torch.full_like(times_s, LONGEST_GAP_S)[..., None].expand(-1, -1, 2)
    gaps_s = torch.diff(times_s, dim=1).clamp(1e-3, LONGEST_GAP_S)
    if present is not None:
        # The gap to a frame that is only padding says nothing.
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
    """Linear interpolation along time; held constant beyond the ends.

    Args:
        values: (B, T, D).
        times_s: (B, T) increasing seconds.
        wanted_s: (L,) seconds.
        present: (B, T) bool, True for the first frames of each row; None if all are present.

    Returns:
        (B, L, D).

    Source: method section B.7.
    """
    count = times_s.shape[1]
    if count == 1:
        return values.expand(-1, len(wanted_s), -1)
    targets = wanted_s.to(times_s.dtype).expand(len(times_s), -1).contiguous()
    right = torch.searchsorted(times_s.contiguous(), targets).clamp(1, count - 1)
    left = right - 1
    start, end = times_s.gather(1, left), times_s.gather(1, right)
    share = ((targets - start) / (end - start).clamp_min(1e-6)).clamp(0, 1)[..., None]
    if present is not None:
        last = present.sum(1, keepdim=True) - 1
        share = share * (right <= last)[..., None]
        left = torch.minimum(left, last)

    def take(indices: Tensor) -> Tensor:
        return values.gather(1, indices[..., None].expand(-1, -1, values.shape[-1]))

    return take(left) * (1 - share).to(values.dtype) + take(right) * share.to(values.dtype)
