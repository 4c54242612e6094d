"""Why container builds are slow or broken on this host, and safe repairs.

Invariant: standard library only, no import of the engine, syntax of Python 3.9: it runs on a broken
host, before anything is set up. Only `repairs` and `edits` change anything.
"""
