"""What goes into a store and comes out of it.

Whatever is pickled says that its module is the package: that stays, and these may move. Where annotations are looked up
at run time they are objects, not text, and need no module.
"""
