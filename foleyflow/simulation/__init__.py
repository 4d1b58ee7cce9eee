"""Simulated clips: scenes with exact contact times, rendered, with the sound of their contacts."""
