"""The command line, and calls from Python: how a command starts, prints and ends.

Read in this order:

    command.py        the entry point of all commands: Hydra, and errors as one sentence
    mistyped.py       errors for arguments that cannot be parsed
    unknown_keys.py   errors for unknown keys and options
    parameters.py     the parameters of a class, without importing it
    text_keys.py      names and paths, which keep the text as typed
    progress.py       lines of progress
    table.py          tables as text, Markdown and HTML
    versions.py       versions of the packages behind a result
    call.py           a command called from Python
    results.py        what such a call returns, for notebooks
"""
