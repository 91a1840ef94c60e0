"""A run on the disk: its folder, its checkpoints, and loading it.

Read in this order:

    folder.py         the files of a run folder, and its lock
    checkpoint.py     sealed checkpoints; save_clock.py says when one is due
    trained_run.py    `vje_ppl.load`, and embedding images
    saved_model.py    a run as one safetensors file
    foreign_state.py  checks of a state from anyone
"""
