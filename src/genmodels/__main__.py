"""`python -m genmodels`: works where a script with the environment's path in its first line would not."""

from genmodels.cli import main

if __name__ == "__main__":
    main()
