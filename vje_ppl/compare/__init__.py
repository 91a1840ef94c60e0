"""Finished runs side by side: what they differ in, what came out, and what of it may be compared."""
