"""`python -m fromagerie.train`: see `fit.py`."""

from .fit import main

main()
