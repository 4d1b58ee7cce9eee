"""Clips on disk and the training windows that are cut from them."""
