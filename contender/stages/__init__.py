"""The stages of a run, in their order: what each computes, from what, and under which key it is kept.

    data.py    look → take_snapshot → check_quality → split_rows
    model.py   fine_tune → stage_release → fetch_release → predict
    telling.py what they have in common: the workspace, and notes on their progress

Every function takes the run and the records of earlier stages, and returns what it found in the workspace or computed now. None
of them decides what happens next: that is the flow's, and the verdict's.
"""
