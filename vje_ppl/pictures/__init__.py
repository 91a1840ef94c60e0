"""Shared parts of all pictures.

Read in this order:

    style.py          figures, headings, axes, legends and colours
    curves.py         `curves.png`, the curves of a run
"""
