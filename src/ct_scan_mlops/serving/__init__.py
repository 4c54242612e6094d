"""The inference API: one process, one model, answers over HTTP in bounded memory and time."""
