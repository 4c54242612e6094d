"""The resolvers, one module per noun: they turn arguments into values and ops, and do nothing else."""
