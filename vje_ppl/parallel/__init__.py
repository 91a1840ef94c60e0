"""Devices and processes.

Read in this order:

    devices.py        Lightning Fabric on the configured devices
    processes.py      the processes that torchrun or SLURM has started
    interrupt.py      signals, and when all processes act on one
"""
