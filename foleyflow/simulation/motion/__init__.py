"""Scene families: bodies, motion and contact times of simulated scenes."""
