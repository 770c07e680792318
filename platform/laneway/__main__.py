"""``python -m laneway``: the same as the ``laneway`` command."""

from laneway.cli import main

if __name__ == "__main__":
    main()
