"""The drift API: says whether what the model is shown still looks like what it was trained on."""
