"""Makes `python -m foleyflow` run the console script."""

from foleyflow.cli import main

if __name__ == "__main__":
    main()
