"""What a large run needs, from what can be counted and measured without running it: see `scaling.md`."""
