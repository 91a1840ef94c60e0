"""The report of a diagnosis: sections as plain data (`section.py`), and the HTML page made of them (`page.py`)."""
