"""A run on disk: its folder, its checkpoints, and loading it.

Read in this order:

    folder.py         the files of a run folder, and its lock
    checkpoint.py     checkpoints that detect damage, and when to write the next
    trained_run.py    `vje_ppl.load`, and embedding images
    saved_model.py    a run as one safetensors file
    weights_file.py   the tensors in a file of weights, of any program
    encoder_weights.py    an encoder's weights among tensors that are named in another way
    files.py          files written whole or not at all
    foreign_state.py  checks of a state or configuration from someone else
"""
