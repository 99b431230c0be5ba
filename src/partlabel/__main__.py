"""`python -m partlabel`."""

from partlabel.cli import main

main()
