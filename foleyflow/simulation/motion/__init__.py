"""Motion of simulated scenes: what moves, what touches, and when."""
