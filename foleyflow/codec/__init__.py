"""The audio codec: waveforms to latents at 50 Hz and back."""
