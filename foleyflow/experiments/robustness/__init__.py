"""Measure how `foleyflow generate` handles damaged and unusual files: fuzzing with an oracle.

    seed clips --mutations--> mutants --generate, in workers--> outcomes --verdict--> counts

`corpus` encodes the seed clips, `structure` finds the parts of a container file, `mutations`
changes them, `worker` runs the command, `playback` decodes input and output, `verdict` compares
them, `runner` distributes the cases over processes, and `report` summarises the results.
"""
