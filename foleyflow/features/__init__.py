"""Features computed once per data set and stored: frames, latents, conditions."""
