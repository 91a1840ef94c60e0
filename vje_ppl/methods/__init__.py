"""VJE and the baselines that it is compared with, behind one interface.

Read in this order:

    method.py         `Method`, the interface that training and evaluation use
    joint_embedding.py    VJE: the guide, the model and the objective in one module
    baseline.py       the base class of the baselines, their heads, and the gathering of the batch from all processes
    simsiam.py, vicreg.py, barlow_twins.py, byol.py, vi_simsiam.py, simclr.py    baselines, one per file
    gaussian_projections.py    the base class of LeJEPA and VISReg, whose projections should be standard Gaussian
    lejepa.py, visreg.py       these two
"""
