"""Ops, their keys, and the solver that runs each of them once."""
