"""Data sets of simulated clips: one clip from its seed, and many in parallel."""
