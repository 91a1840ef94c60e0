"""VJE and the baselines that it is compared with, behind one interface.

Read in this order:

    method.py         `Method`, the interface that training and evaluation use
    joint_embedding.py    VJE: the guide, the model and the objective in one module
    baseline.py       the base class of the baselines; heads.py builds their projection and prediction heads
    simsiam.py, vicreg.py, barlow_twins.py, byol.py, vi_simsiam.py    the baselines, one per file
    whole_batch.py    gathers the batch from all processes, for losses that compare its images
"""
