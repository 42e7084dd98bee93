"""The types that a store takes and returns.

Pickles name the package as the module of these classes, so the files here may move. Annotations that are read at run
time are objects, not text, and need no module.
"""
