"""The product path: a video in, its generated sound out."""
