"""The checks, one module for each family; `catalogue` lists them in the order they run."""
