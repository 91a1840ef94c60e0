"""The report of a diagnosis.

Read in this order:

    section.py        the result of a section as plain data: verdicts, pictures, rows and notes
    page.py           the HTML page made from all sections, from report.html.jinja and report.css
"""
