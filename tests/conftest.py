"""What every test needs: the allocator that counts, before TensorFlow runs its first operation."""

import os

os.environ.setdefault("TF_CPU_ALLOCATOR_USE_BFC", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
