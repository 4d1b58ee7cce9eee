"""Adapts a model to a user's own recordings: lags, clips, fine-tuning, held-out validation."""
