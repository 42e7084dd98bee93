"""The calls of the engine: a mixin each, by what they are about."""
