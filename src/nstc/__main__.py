"""`python -m nstc` is the command line."""

from nstc.cli import main

if __name__ == "__main__":
    main()
