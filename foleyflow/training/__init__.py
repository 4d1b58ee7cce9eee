"""One training loop for all tasks: codec, alignment, flow."""
