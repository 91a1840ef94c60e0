"""python -m vje_ppl.benchmark: speed and memory, as ratios measured in one run."""
