"""`python -m noria` is `noria`."""

from noria.cli import main

if __name__ == "__main__":
    main()
