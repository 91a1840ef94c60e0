"""Statistics that the sections of a diagnosis report: functions of arrays or posteriors, one subject a file."""
