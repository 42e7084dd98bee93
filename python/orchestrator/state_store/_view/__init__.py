"""How runs, items and times read for people: shared by the command line, the page and the report.

Nothing here needs a third party's package, and stores are asked by their public calls alone.
"""
