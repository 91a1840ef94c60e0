"""Figures and tables of the paper, from many small runs of which none is made twice."""
