"""Plain torch networks.

Read in this order:

    encoders.py       from images to embeddings: an MLP and ResNets
    inference_network.py    from an embedding to the parameters of its posterior
    normalization.py  batch or group normalization, by name
    convolution.py    strided convolutions that avoid two faulty CPU kernels
"""
