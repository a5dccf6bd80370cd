"""Build hummingbot's order book, and what it imports, in a peer's environment.

    python build_hummingbot.py FOLDER      with the environment's own Python

Its package as a whole has sixty extensions and as many dependencies; a book needs a handful.
"""

import subprocess
import sys
import sysconfig
import tarfile
from pathlib import Path

VERSION = "20260922"
PARTS = ("core/pubsub", "core/event/event_listener", "core/event/event_logger",
         "core/event/event_reporter", "core/data_type/limit_order", "core/data_type/order_book",
         "core/data_type/order_book_query_result")  # fmt: skip
SETUP = """
import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup

made = [
    Extension("hummingbot." + part.replace("/", "."), [f"hummingbot/{{part}}.pyx"], language="c++",
              include_dirs=["hummingbot/core", "hummingbot/core/data_type", numpy.get_include()],
              extra_compile_args=["-std=c++11", "-O3"])
    for part in {parts}
]
directives = {{"annotation_typing": False, "language_level": 3}}
setup(name="parts", packages=[], ext_modules=cythonize(made, compiler_directives=directives))
"""


def main() -> None:
    """Fetch, unpack, build, and put it where the environment's Python looks."""
    folder = Path(sys.argv[1]).resolve() / "hummingbot"
    pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, f"hummingbot=={VERSION}", "-d", str(folder)], check=True)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    source = folder / f"hummingbot-{VERSION}"
    (source / "setup_parts.py").write_text(SETUP.format(parts=PARTS))
    command = [sys.executable, "setup_parts.py", "-q", "build_ext", "--inplace"]
    subprocess.run(command, cwd=source, check=True)
    (Path(sysconfig.get_path("purelib")) / "hummingbot.pth").write_text(f"{source}\n")


if __name__ == "__main__":
    main()
