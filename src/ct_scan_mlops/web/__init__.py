"""What both services stand on: bounds on requests, and words for refusals."""
