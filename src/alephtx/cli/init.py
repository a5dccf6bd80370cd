"""`alephtx init`: write a config to start from."""

import argparse
import os
from importlib.resources import files
from pathlib import Path

from alephtx.core.errors import ConfigError


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the verb takes."""
    parser.add_argument("path", nargs="?", default="config.toml", help="default: config.toml")
    parser.add_argument("--force", action="store_true", help="replace a file that is there")


def run(options: argparse.Namespace) -> int:
    """Write the example config; an existing file is kept unless --force."""
    path = Path(options.path)
    text = files("alephtx.cli").joinpath("config.example.toml").read_text("utf-8")
    flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if options.force else os.O_EXCL)
    try:
        with os.fdopen(os.open(path, flags, 0o644), "w", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise ConfigError(f"{path} is there already", remedy="--force replaces it") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from None
    print(
        f"wrote {path}; next: alephtx check {path}"
        if str(path) != "config.toml"
        else "wrote config.toml; next: alephtx check"
    )
    return 0
