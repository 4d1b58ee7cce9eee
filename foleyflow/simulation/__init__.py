"""Simulated clips: scenes with exact contact times, filmed, with the sound of their contacts."""
