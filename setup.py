"""The repository's folders under the one name that is installed, and the README without pictures.

Pictures and pages that the README shows lie in the repository, not in what is installed.
"""

import re
from pathlib import Path

from setuptools import find_packages, setup

FOLDERS = ("profiling", "experiments")

readme = Path(__file__).with_name("README.md").read_text(encoding="utf-8")

setup(
    packages=[
        *find_packages(include=["mem_dfa*"]),
        *(f"mem_dfa.{name}" for name in find_packages(include=[f"{f}*" for f in FOLDERS])),
    ],
    package_dir={f"mem_dfa.{folder}": folder for folder in FOLDERS},
    long_description=re.sub(r"!?\[([^]]*)\]\((?!https?://)[^)]*\)", r"\1", readme),
    long_description_content_type="text/markdown",
)
