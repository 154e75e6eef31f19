"""The recorded memory of a step: running bytes, what was alive when, and where it belongs."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import pandas as pd
from mem_dfa.profiling.errors import TraceError
from mem_dfa.profiling.words import OTHER, RESIDENT

Key = Literal["block", "phase", "category", "op", "layer"]
KEYS: tuple[str, ...] = get_args(Key)


class TimelineData:
    """What one device's allocator did while a step ran.

    Bytes are allocated bytes unless a name says requested; the sums are exact. Times are
    nanoseconds since the recording began with its first event.

    Attributes:
        events: one row per allocation or deallocation, in order of time: time_ns, kind
            ("allocation" or "deallocation"), address, allocated_bytes, requested_bytes,
            running_bytes (alive after it), op, shape, dtype, layer, block, phase, category,
            tensor (its row in `tensors`).
        tensors: one row per allocation's lifetime, those alive before the recording first:
            address, allocated_bytes, requested_bytes, op (a variable's path where one held it),
            shape, dtype, layer, block, phase, category, start_ns (-1: before the recording),
            end_ns (`duration_ns` + 1: after it). The last resident row is what nobody could name:
            the rounding of what was there before, batches fetched ahead, other small constants.
        resident_bytes: alive before the first event.
        duration_ns: time of the last event.
        device: such as "CPU:0".
        attribution: how much is known of where bytes belong, a key of `words.ATTRIBUTIONS`.
        title: what was recorded, for headings.
        operations: one row per operation that ran, start_ns, end_ns, name, thread; may be empty.
        allocator_peak_bytes: the allocator's own peak over the same step; None where unknown.
        fault: "" if the curve is exact, otherwise what is wrong with it and by how much.
        predicted_peak_bytes: from shapes alone; None where nobody predicted.
    """

    events: pd.DataFrame
    tensors: pd.DataFrame
    operations: pd.DataFrame
    resident_bytes: int
    duration_ns: int
    device: str
    attribution: str
    allocator_peak_bytes: int | None
    fault: str

    def __init__(self, title: str = "step") -> None:
        """An empty timeline; `profiling.trace` fills it when its block ends."""
        self.title = title
        self.predicted_peak_bytes: int | None = None

    def __getattr__(self, name: str) -> object:
        """Only what is not there yet comes here.

        Raises:
            TraceError: the recording has not ended.
        """
        if name in TimelineData.__annotations__:
            raise TraceError(
                f"timeline.{name} is there when the recording has ended: read it after the "
                "'with profiling.trace()' block, and run a step inside it."
            )
        raise AttributeError(name)

    @property
    def peak_bytes(self) -> int:
        """Greatest number of bytes alive at one time, reconstructed from the events.

        Equal to the allocator's own where `fault` is ""; otherwise the allocator's own, because
        that one does not depend on the events.
        """
        if self.fault and self.allocator_peak_bytes is not None:
            return self.allocator_peak_bytes
        return self._reconstructed_peak_bytes

    @property
    def _reconstructed_peak_bytes(self) -> int:
        return max(self.resident_bytes, int(self.events["running_bytes"].max()))

    @property
    def step_bytes(self) -> int:
        """Peak above what was alive before: peak - resident."""
        return self.peak_bytes - self.resident_bytes

    @property
    def step_requested_bytes(self) -> int:
        """Greatest number of bytes that operations asked for at one time, without any rounding.

        Counted above what was alive when the recording began: freeing a tensor of that time makes
        room, and the result is 0 where nothing ever exceeds it. Exact for the recorded step;
        operations that TensorFlow may run in either order can make another one differ a little.
        """
        return max(0, int(self._requested_changes().cumsum().max()))

    def _requested_changes(self) -> pd.Series:
        requested = self.events["requested_bytes"]
        return requested.where(self.events["kind"] == "allocation", -requested)

    def requested_at_peak(self) -> pd.Series:
        """What `step_requested_bytes` is made of: bytes by (layer, category), as in `by`.

        A tensor from before the recording that was freed by then counts below 0, so that the sum
        is exact. Of several peaks of one height it is the last, which has all that piled up.
        """
        totals = self._requested_changes().cumsum().to_numpy()
        last = len(totals) - 1 - int(totals[::-1].argmax())
        # -1 where nothing exceeds what was there before.
        peak_time_ns = self.events["time_ns"].iloc[last] if totals[last] > 0 else -1
        tensors = self.tensors
        began = (tensors["start_ns"] >= 0) & (tensors["start_ns"] <= peak_time_ns)
        ended = tensors["end_ns"] <= peak_time_ns
        resident = tensors["start_ns"] < 0
        signs = (began & ~ended).astype(int) - (resident & ended).astype(int)
        return self.by_layer_and_category(tensors, signs * tensors["requested_bytes"])

    def requested_resident(self) -> pd.Series:
        """Requested bytes alive before the first event, by (layer, category), as in `by`."""
        resident = self.tensors[self.tensors["start_ns"] < 0]
        return self.by_layer_and_category(resident, resident["requested_bytes"])

    @property
    def peak_time_ns(self) -> int:
        """When the peak was first reached; -1 if before the first event."""
        if self.resident_bytes >= int(self.events["running_bytes"].max()):
            return -1
        return int(self.events["time_ns"].iloc[int(self.events["running_bytes"].argmax())])

    def require_exact(self) -> None:
        """Refuse to go on with a curve that is not exact.

        Raises:
            TraceError: what is wrong and by how much.
        """
        if self.fault:
            raise TraceError(f"This timeline is not exact, so it is not shown: {self.fault}")

    def running_bytes(self) -> pd.Series:
        """Bytes alive after each event, by time_ns; starts at -1 with the resident bytes."""
        times = np.concatenate([[-1], self.events["time_ns"].to_numpy()])
        running = np.concatenate([[self.resident_bytes], self.events["running_bytes"].to_numpy()])
        return pd.Series(running, index=pd.Index(times, name="time_ns"), name="running_bytes")

    def live_at(self, time_ns: int) -> pd.DataFrame:
        """The rows of `tensors` alive at `time_ns`, largest first; their bytes sum to the curve.

        Args:
            time_ns: since the first event; -1 for before it.
        """
        chosen = (self.tensors["start_ns"] <= time_ns) & (time_ns < self.tensors["end_ns"])
        return self.tensors[chosen].sort_values("allocated_bytes", ascending=False, kind="stable")

    def live_at_peak(self) -> pd.DataFrame:
        """The rows of `tensors` alive at the peak, largest first; their bytes sum to the peak."""
        return self.live_at(self.peak_time_ns)

    def by(self, key: Key) -> pd.Series:
        """Bytes alive at the peak for each block, phase, category, op or layer, largest first.

        Their sum is the peak. What no layer is known of counts to the first layer of its block,
        and what is not attributed stands under "other".

        Raises:
            ValueError: another key.
        """
        if key not in KEYS:
            raise ValueError(f"Received by({key!r}); allowed are {', '.join(KEYS)}.")
        live = self.live_at_peak()
        names = self.layers_of(live) if key == "layer" else live[key]
        sums = live["allocated_bytes"].groupby(names.replace("", OTHER), sort=False).sum()
        return sums.sort_values(ascending=False, kind="stable")

    def diff(self, other: TimelineData) -> pd.DataFrame:
        """Bytes alive at the peak, per layer and category: this timeline beside `other`.

        Layers, as in `by`, because a model that is trained whole and one that is cut into blocks
        have them in common.

        Returns:
            Index (layer, category); columns bytes, other_bytes, difference_bytes (other - this),
            greatest change first. The differences sum to the difference of the peaks.
        """
        sides = []
        for timeline in (self, other):
            live = timeline.live_at_peak()
            sides.append(timeline.by_layer_and_category(live, live["allocated_bytes"]))
        return difference(sides[0], sides[1])

    def by_layer_and_category(self, tensors: pd.DataFrame, sizes: pd.Series) -> pd.Series:
        """Sums of sizes, one of each of `tensors`, by (layer, category), but those that are 0."""
        keys = [self.layers_of(tensors).replace("", OTHER), tensors["category"]]
        sums = sizes.groupby(keys).sum()
        return sums[sums != 0]

    def layers_of(self, tensors: pd.DataFrame) -> pd.Series:
        """The layer of each row of `tensors`, or the first of its block, or the block, or ""."""
        made = self.tensors[self.tensors["layer"] != ""]
        first = made.groupby("block", sort=False)["layer"].first().to_dict()
        return tensors["layer"].where(tensors["layer"] != "", tensors["block"].replace(first))

    @property
    def attributed_share(self) -> float:
        """Share of the bytes alive at the peak that have a block, a phase and a category."""
        live = self.live_at_peak()
        known = (live["block"] != "") & (live["phase"] != OTHER) & (live["category"] != RESIDENT)
        return float(live.loc[known, "allocated_bytes"].sum() / live["allocated_bytes"].sum())


def difference(before: pd.Series, after: pd.Series) -> pd.DataFrame:
    """What changed between two sums by (layer, category), the table of `Timeline.diff`."""
    table = pd.concat([before, after], axis=1, keys=["bytes", "other_bytes"])
    table = table.fillna(0).astype("int64")
    table.index.names = ["layer", "category"]
    table["difference_bytes"] = table["other_bytes"] - table["bytes"]
    order = table["difference_bytes"].abs().sort_values(ascending=False, kind="stable").index
    return table.loc[order]
