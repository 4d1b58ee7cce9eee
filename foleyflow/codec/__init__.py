"""The audio codec: 48 kHz waveforms to latents at 50 Hz and back."""
