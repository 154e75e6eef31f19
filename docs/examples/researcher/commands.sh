# A researcher's net in a file of its own: what does each algorithm take, at which depth, how large
# may the batch be, and who notices when that changes?
set -euo pipefail

# One net, beside bp.
mem-dfa run --algo mem_dfa --model net.py:build

# How memory grows with depth, and a picture of it.
mem-dfa sweep --algo bp,mem_dfa --model net.py:build --layers 2,8 --repeats 1 --steps 1 --out depth
mem-dfa plot --x layers --y step --by algorithm --from depth --file depth.png

# The largest batch within 30 MiB.
mem-dfa fit --algo mem_dfa --model net.py:build --memory 30MiB --maximum 16 --repeats 1 --steps 1

# From now on a step that takes more, or less, is told.
cat > memory-gate.toml <<'TOML'
[[cells]]
model = "net.py:build"
algo = ["mem_dfa"]
TOML
mem-dfa gate --update-baseline
