"""Cue sheets: what sounds in a clip, when and how, and the files that store it."""
