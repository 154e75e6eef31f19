"""The repository's folders under the one name that is installed."""

from setuptools import find_packages, setup

FOLDERS = ("profiling", "experiments")

setup(
    packages=[
        *find_packages(include=["mem_dfa*"]),
        *(f"mem_dfa.{name}" for name in find_packages(include=[f"{f}*" for f in FOLDERS])),
    ],
    package_dir={f"mem_dfa.{folder}": folder for folder in FOLDERS},
)
