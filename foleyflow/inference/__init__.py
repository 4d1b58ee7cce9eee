"""Generates sound for videos with trained models."""
