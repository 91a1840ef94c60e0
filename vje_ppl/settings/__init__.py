"""From a configuration to objects, and what makes two configurations the same run.

Read in this order:

    build.py          instantiates the parts of a configuration, and checks what a foreign one may name
    data.py           the images of a configuration
    identity.py       names and differences of runs, and parts that have moved
    twins.py          the same parts in NumPyro, by name
    groups.py         the groups of a configuration, and the method that it names
    argument_types.py, checks.py    checks of values
"""
