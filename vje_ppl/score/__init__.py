"""`python -m vje_ppl.score`: how unusual a user's own images are, with p-values.

Read in this order:

    command.py        the command
    options.py        the checks of options
    setting.py        a score with everything that determines its values; the default score
    given.py          the images to score; find.py finds them in folders, files, lists and shards
    reading.py        their views, block by block, in the form of the run's images
    image_scorer.py   one score of the views of images
    training_side.py  what a score needs of the training images
    calibration.py    calibration scores and p-values
    stored.py         the files with both, in a run folder or an export
    prepared.py       a run ready to score images, from all of these
    loaded_run.py     `vje_ppl.load`, and `score` in Python
    table.py          `scores.csv`, written as images are scored, and continued
    summary.py        `summary.json`, and the line on the console
    contact_sheet.py  the picture of the most and least usual images
"""
