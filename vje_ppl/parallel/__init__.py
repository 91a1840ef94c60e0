"""Devices, processes and signals.

Read in this order:

    devices.py        Lightning Fabric on the configured devices
    fabric.py         Lightning Fabric without the packages that nothing here needs
    processes.py      the processes that torchrun or SLURM has started
    interrupt.py      signals, and how all processes stop after the same step
"""
