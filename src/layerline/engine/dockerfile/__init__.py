"""Dockerfiles: read into instructions, and built by the same ops that the API's fields make."""
