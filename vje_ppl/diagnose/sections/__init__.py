"""The sections of a diagnosis, one a file: each is a function that returns a `Section`.

The file `<name>.py` has the section's numbers, verdicts and words, `<name>_pictures.py` its pictures.
"""
