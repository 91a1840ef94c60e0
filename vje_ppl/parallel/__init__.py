"""Devices, processes and signals.

Read in this order:

    devices.py        Lightning Fabric on the configured devices
    processes.py      the processes that torchrun or SLURM has started
    interrupt.py      signals, and how all processes stop after the same step
"""
