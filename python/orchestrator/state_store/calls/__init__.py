"""The calls of `StateStore`: a mixin each, by what they are about."""
