# A Keras user whose training runs out of memory: what takes it, and what would take less?
set -euo pipefail

# The script is not changed. Its third step is recorded.
mem-dfa profile run --out recorded train.py
ls recorded
