"""Rendering of simulated scenes: camera, exposure, textures, video compression."""
