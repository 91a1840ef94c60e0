"""Methods to compare VJE with, each trained and evaluated in the same way: one file a method."""
