"""`python -m backroom`, for where the script is not on the path."""

from backroom.cli import main

main()
