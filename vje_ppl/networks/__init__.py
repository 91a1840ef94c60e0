"""Plain torch networks.

Read in this order:

    encoders.py       from images to embeddings: an MLP and ResNets
    given_features.py feature vectors as embeddings
    timm_encoder.py   any model of timm as an encoder
    inference_network.py    from an embedding to the parameters of its posterior
    normalization.py  batch or group normalization, by name
    whitening.py      embeddings without correlations
    torchvision_names.py    an encoder's weights under torchvision's names
    convolution.py    strided convolutions that avoid two faulty CPU kernels
"""
