"""Measures how `foleyflow generate` takes damaged and odd files: seeded fuzzing with an oracle.

    seed clips --mutations--> mutants --generate, in workers--> outcomes --verdict--> counts

`corpus` makes the seed clips, `structure` finds the parts of a container file, `mutations` changes
them, `worker` runs the command, `playback` reads what a player would show, `verdict` compares it,
and `runner` shares the cases among processes.
"""
