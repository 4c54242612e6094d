"""What command lines can be completed to."""
