"""Products of rows of rounded inputs with an int8 matrix, as `Int8Product` rounds them.

In: a matrix of integers in panels, and rows of inputs from 0 to 255. Out: rows of float32. Sums of
integers are exact and each row's floats are added in one order, so a row's result does not depend
on which others are multiplied beside it.
Legend: I inputs, G groups of inputs with one scale, P panels, T rows of inputs.
"""

from __future__ import annotations

from typing import Any

from noria.generate.fused.emit import FLOATS, INTEGERS, Emitter, kernel
from noria.generate.fused.kept import compiled
from noria.generate.fused.layout import MOST_ROWS, PANEL_BYTES, PANEL_OUTPUTS, VECTOR_BYTES

# Their weights stay in the second cache while all rows are multiplied with them.
_PANELS_TOGETHER = 8


def _tile(num_rows: int) -> Any:
    """The product of so many rows with one panel."""

    def tile(
        e: Emitter,
        inputs: Any,  # of 8 bits
        input_bytes: Any,  # from row to row
        lows: Any,
        steps: Any,
        weights: Any,
        sums: Any,
        scales: Any,
        num_groups: Any,
        num_fours: Any,
        outputs: Any,
        output_bytes: Any,
        adds: Any,  # whether to what stands there
    ) -> None:
        b, rows, halves = e.builder, range(num_rows), (0, 1)
        totals = [e.sums(FLOATS, 2) for _ in rows]
        counts = [e.sums(INTEGERS, 2) for _ in rows]
        for row in rows:
            e.clear(totals[row])
        begins = [e.at(inputs, (row, input_bytes)) for row in rows]
        with e.loop(num_groups) as group:
            for row in rows:
                e.clear(counts[row])
            first = b.mul(group.index, num_fours)
            with e.loop(num_fours) as number:
                four = b.add(first, number.index)
                panel = e.at(weights, (four, PANEL_BYTES))
                signed = [e.load(INTEGERS, e.at(panel, (half, VECTOR_BYTES))) for half in halves]
                for row in rows:
                    unsigned = e.spread(INTEGERS, e.at(begins[row], (four, 4)))
                    for half in halves:
                        count = counts[row][half]
                        b.store(e.dot4(b.load(count), unsigned, signed[half]), count)
            group_sums = e.at(sums, (group.index, PANEL_BYTES))
            for row in rows:
                own = (num_groups, row * 4), (group.index, 4)
                low = e.spread(FLOATS, e.at(lows, *own))
                step = e.spread(FLOATS, e.at(steps, *own))
                for half in halves:
                    total = totals[row][half]
                    of_low = e.load(FLOATS, e.at(group_sums, (half, VECTOR_BYTES)))
                    found = b.sitofp(b.load(counts[row][half]), FLOATS)
                    b.store(e.fma(step, found, e.fma(low, of_low, b.load(total))), total)
        is_added = b.icmp_signed("!=", adds, adds.type(0))
        for row in rows:
            for half in halves:
                place = e.at(outputs, (row, output_bytes), (half, VECTOR_BYTES))
                before = b.select(is_added, e.load(FLOATS, place), e.zeros(FLOATS))
                scale = e.load(FLOATS, e.at(scales, (half, VECTOR_BYTES)))
                e.store(e.fma(b.load(totals[row][half]), scale, before), place)

    return kernel(tile, 12)


_tile_1, _tile_4, _tile_8 = _tile(1), _tile(4), _tile(MOST_ROWS)


@compiled()
def multiply(inputs, lows, steps, matrices, layer, outputs, adds, num_rows, part, num_parts):  # type: ignore[no-untyped-def]
    """One part of all panels: outputs (+)= inputs · matrixᵀ.

    inputs: (T, I) of uint8; lows, steps: (T, G); outputs: (T, 32 · P). All have room for a whole
    tile behind the last row.
    """
    weights, sums, scales = matrices.weights[layer], matrices.sums[layer], matrices.scales[layer]
    num_panels, num_groups, num_fours, _ = weights.shape
    input_bytes, output_bytes = inputs.strides[0], outputs.strides[0]
    last = num_panels * (part + 1) // num_parts
    for begin in range(num_panels * part // num_parts, last, _PANELS_TOGETHER):
        end = min(begin + _PANELS_TOGETHER, last)
        row = 0
        while row < num_rows:
            left = num_rows - row
            for panel in range(begin, end):
                given = (
                    inputs[row:].ctypes.data,
                    input_bytes,
                    lows[row:].ctypes.data,
                    steps[row:].ctypes.data,
                    weights[panel].ctypes.data,
                    sums[panel].ctypes.data,
                    scales[panel].ctypes.data,
                    num_groups,
                    num_fours,
                    outputs[row:, panel * PANEL_OUTPUTS :].ctypes.data,
                    output_bytes,
                    adds,
                )
                if left > 4:
                    _tile_8(given)
                elif left > 1:
                    _tile_4(given)
                else:
                    _tile_1(given)
            row += MOST_ROWS if left > 4 else 4
