"""Threads, precision, sharded batches and work on many machines."""
