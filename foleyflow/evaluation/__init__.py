"""Evaluation of generated sound: scores of folders of any system, and the metrics on arrays.

`run.evaluate` scores folders; `metrics.METRICS` and `protocols.PROTOCOLS` list what it computes.
Nothing here imports code that generates sound, and no generator is trained with a judge. The
metrics need the extra `eval` (librosa, mir_eval).
"""
