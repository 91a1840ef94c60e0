"""`python -m vje_ppl.export`: a trained run as files that other programs can read.

Read in this order:

    command.py        the command: safetensors, ONNX and the model card
    onnx_graph.py     the ONNX graph, and its comparison with torch
    model_card.py     the README.md of the export
"""
