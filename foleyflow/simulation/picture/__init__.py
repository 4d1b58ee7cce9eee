"""Rendering of simulated scenes: camera, exposure, surfaces, video compression."""
