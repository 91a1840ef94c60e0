"""Devices, processes and signals.

Read in this order:

    devices.py        Lightning Fabric on the configured devices
    fabric.py         Lightning Fabric without the packages that nothing here needs
    processes.py      the processes that torchrun or SLURM has started
    freed_memory.py   memory that a process on a CPU keeps for its next step
    interrupt.py      signals, and how all processes stop after the same step
"""
