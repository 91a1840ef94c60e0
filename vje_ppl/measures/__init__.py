"""What features are worth: k-NN, linear probe, whitening, detection, and anomaly scores (`anomaly/`)."""
