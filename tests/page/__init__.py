"""The page: who may ask, what each view shows, and what a real browser makes of it."""
