"""``python -m bot`` is the ``quietnote`` command."""

from bot.cli import main

if __name__ == "__main__":
    main()
