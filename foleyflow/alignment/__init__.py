"""VAMA, stage one: masked audio-visual alignment."""
