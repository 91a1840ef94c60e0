"""Building objects from a configuration, and comparing configurations.

Read in this order:

    build.py          builds the parts of a configuration, and checks which classes a foreign configuration may name
    model_input.py    the views that a published model was trained on
    data.py           the images of a configuration
    identity.py       the names of runs, the differences between configurations, and parts that have moved
    twins.py          the NumPyro twins of parts, by name
    groups.py         the groups of a configuration, and its method
    argument_types.py, checks.py    checks of values
"""
