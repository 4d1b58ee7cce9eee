"""Data sets of simulated clips: single clips, files, parallel simulation."""
