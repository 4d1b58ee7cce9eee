"""GVAF, stage two: flow matching, the one-step map, samplers and likelihood."""
