"""Resolvers of the fields that a module's own process asks for."""
