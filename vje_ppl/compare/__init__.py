"""`python -m vje_ppl.compare`: a table of finished runs, with the keys in which they differ and their results.

Read in this order:

    __main__.py       the command: finds runs, prints the table, writes the files
    selection.py      the run folders that globs and folders select
    record.py         a finished run, read from its folder
    rows.py           the rows: runs that differ only in the seed share a row
    columns.py        the columns: configuration keys in which the runs differ
    measure.py        the base measures, which decide which ELBOs can be compared
    known_measures.py the base measures of the project's own likelihoods
    table.py          the table as text, Markdown and CSV
    picture.py        the picture of the table
"""
