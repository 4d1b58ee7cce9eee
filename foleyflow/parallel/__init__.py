"""Threads, precision, sharded batches and Ray clusters."""
