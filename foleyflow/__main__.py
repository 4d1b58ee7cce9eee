"""`python -m foleyflow` is the console script."""

from foleyflow.cli import main

if __name__ == "__main__":
    main()
