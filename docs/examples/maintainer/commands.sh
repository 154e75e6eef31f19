# A maintainer whose repository holds a model and memory-gate.toml: CI fails when a step takes more.
set -euo pipefail

# Once, and commit the folder memory-baselines.
mem-dfa gate --update-baseline

# Somebody makes a layer twice as wide.
sed -i 's/Conv2D(16, 3, padding="same", activation="relu", name="corners")/Conv2D(32, 3, padding="same", activation="relu", name="corners")/' net.py

# In CI: exit status 1, and the layer's name.
if mem-dfa gate; then
    echo "the gate did not notice"
    exit 1
fi
