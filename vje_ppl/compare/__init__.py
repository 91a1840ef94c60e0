"""Finished runs side by side: the keys in which they differ, their results, and which ELBOs may be compared."""
