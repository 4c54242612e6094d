"""`python -m layerline` is the command line."""

from layerline.cli.main import main

main()
