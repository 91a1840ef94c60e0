"""The style that all pictures share (`style.py`), and the curves of a run (`curves.py`)."""
