"""``python -m fit50``."""

from fit50.cli import main

if __name__ == "__main__":
    main()
