"""What is drawn from the runs of a study: a figure or table a file, each a function of the results."""
