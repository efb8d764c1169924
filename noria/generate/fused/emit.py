"""Vector instructions for compiled functions: what LLVM does not find by itself.

In: addresses and counts as 64-bit integers. Out: LLVM's code for vectors of 16 numbers, each of
which it keeps in a register. Order and rounding of every operation are as written here.
This module does not know models.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from noria.generate.fused.layout import LANES

F32, I32, I64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)
_cgutils: Any = cgutils  # numba has no types
_types: Any = types
FLOATS, INTEGERS = ir.VectorType(F32, LANES), ir.VectorType(I32, LANES)


@final
class Emitter:
    """LLVM's builder, with the few operations that the kernels are made of."""

    def __init__(self, builder: Any) -> None:
        self.builder = builder

    def at(self, address: Any, *moves: tuple[Any, Any]) -> Any:
        """address + count · bytes, for each pair of them."""
        for count, num_bytes in moves:
            moved = self.builder.mul(_whole(count), _whole(num_bytes))
            address = self.builder.add(address, moved)
        return address

    def load(self, kind: Any, address: Any) -> Any:
        """What lies at an address, a multiple of 4."""
        pointer = self.builder.inttoptr(address, kind.as_pointer())
        return self.builder.load(pointer, align=4)

    def store(self, value: Any, address: Any) -> None:
        """Write to an address, a multiple of 4."""
        pointer = self.builder.inttoptr(address, value.type.as_pointer())
        self.builder.store(value, pointer, align=4)

    def spread(self, kind: Any, address: Any) -> Any:
        """The number at an address, in every lane."""
        empty = ir.Constant(kind, ir.Undefined)
        one = self.builder.insert_element(
            empty, self.load(kind.element, address), ir.Constant(I32, 0)
        )
        return self.lanes(one, empty, [0] * LANES)

    def lanes(self, first: Any, second: Any, places: list[int]) -> Any:
        """A vector of these lanes of two, the second's counted on from the first's."""
        return self.builder.shuffle_vector(first, second, ir.Constant(INTEGERS, places))

    def sums(self, kind: Any, count: int) -> list[Any]:
        """Variables of the whole kernel; to be cleared before they are added to."""
        return [_cgutils.alloca_once(self.builder, kind) for _ in range(count)]

    def clear(self, variables: list[Any]) -> None:
        """Make variables zero."""
        for one in variables:
            self.builder.store(self.zeros(one.type.pointee), one)

    def zeros(self, kind: Any) -> Any:
        """Zero in every lane."""
        return ir.Constant(kind, [0.0 if kind is FLOATS else 0] * LANES)

    def fma(self, a: Any, b: Any, c: Any) -> Any:
        """a · b + c, rounded once."""
        return self.call("llvm.fma.v16f32", FLOATS, a, b, c)

    def dot4(self, sums: Any, unsigned: Any, signed: Any) -> Any:
        """sums + four products of 8-bit integers in each lane (AVX-512 VNNI's VPDPBUSD)."""
        return self.call("llvm.x86.avx512.vpdpbusd.512", INTEGERS, sums, unsigned, signed)

    def loop(self, count: Any) -> Any:
        """A context that is gone through `count` times; `index` is the number of the round."""
        return _cgutils.for_range(self.builder, _whole(count))

    def call(self, name: str, kind: Any, *given: Any) -> Any:
        """LLVM's own function of that name, or the C library's."""
        signature = ir.FunctionType(kind, [one.type for one in given])
        function = _cgutils.get_or_insert_function(self.builder.module, signature, name)
        return self.builder.call(function, given)


def _whole(value: Any) -> Any:
    return ir.Constant(I64, value) if isinstance(value, int) else value


def kernel(emit: Callable[..., None], num_given: int) -> Any:
    """A function for compiled code: `emit` writes it, given an Emitter and that many integers.

    Compiled code gives them as one tuple.
    """
    integers = _types.UniTuple(_types.int64, num_given)

    def typed(typing_context: Any, given: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            # One copy of it: LLVM would write one for each call, and take three times as long.
            builder.function.attributes.add("noinline")
            emit(Emitter(builder), *_cgutils.unpack_tuple(builder, values[0]))
            return context.get_dummy_value()

        return _types.void(integers), generate

    return intrinsic(typed)
