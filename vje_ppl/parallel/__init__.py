"""Devices, processes, signals, and random numbers that do not depend on these.

Read in this order:

    devices.py        Lightning Fabric on the configured devices
    fabric.py         Lightning Fabric without the packages that nothing here needs
    processes.py      the processes that torchrun or SLURM has started
    freed_memory.py   memory that a process on a CPU keeps for its next step
    randomness.py     random streams by name, and the global random states
    interrupt.py      signals, and how all processes stop after the same step
"""
