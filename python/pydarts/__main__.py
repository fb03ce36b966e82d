"""`python -m pydarts`: the command line."""

from pydarts_cli import main

if __name__ == "__main__":
    main()
