"""Several processes that train one model: whose rows are whose, and what is summed over all.

In: the processes that torchrun started. Out: this process's rows, sums over all processes, and
tensors that lie cut over them put together again. One process is a team of one, for which all of
this does nothing.
"""

from __future__ import annotations

import gc
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from datetime import timedelta
from math import ceil
from types import FrameType

import torch
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from noria.model.block import Block
from noria.train.batch import BatchT

# Preparing text may take hours, and the other processes wait for the first one meanwhile.
PATIENCE = timedelta(days=2)


@dataclass(frozen=True)
class Team:
    """The processes that train together, and which of them this one is."""

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that writes files and talks to people."""
        return self.rank == 0

    def wait(self) -> None:
        """Go on when every process has come here."""
        if self.size > 1:
            distributed.barrier()

    def total(self, value: float, device: torch.device) -> float:
        """The sum of every process's value."""
        return self._reduced(value, device, distributed.ReduceOp.SUM)

    def most(self, value: float, device: torch.device) -> float:
        """The largest of every process's values."""
        return self._reduced(value, device, distributed.ReduceOp.MAX)

    def _reduced(
        self, value: float, device: torch.device, how: distributed.ReduceOp.RedOpType
    ) -> float:
        if self.size == 1:
            return value
        number = torch.tensor(value, dtype=torch.float64, device=device)
        distributed.all_reduce(number, how)
        return number.item()

    def parts(self, batch: BatchT, num_rows: int) -> list[tuple[BatchT, float]]:
        """This process's micro-batches of at most so many rows, each with its weight.

        Every process has equally many, so that all take part in every exchange; one that has fewer
        rows reads some again, which weigh 0.
        """
        if self.size == 1:
            return [(part, 1.0) for part in batch.split(num_rows)]
        num_share = ceil(len(batch.ids) / self.size)
        while len(batch.split(num_share)) > self.size:  # rows that stay together can need more
            num_share += 1
        shares = [share.split(num_rows) for share in batch.split(num_share)]
        own = shares[self.rank] if self.rank < len(shares) else []
        missing = max(len(share) for share in shares) - len(own)
        spare = own or shares[0]
        return [(part, 1.0) for part in own] + [(spare[0], 0.0)] * missing

    def sum_gradients(self, model: nn.Module) -> None:
        """Give every process the sum of all processes' gradients; cut weights have it already."""
        if self.size == 1 or is_cut(model):
            return
        sums = []
        for parameter in model.parameters():
            if parameter.requires_grad:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
                sums.append(distributed.all_reduce(parameter.grad, async_op=True))
        for one in sums:
            one.wait()


ALONE = Team()


@contextmanager
def open_team(device: str) -> Iterator[Team]:
    """Meet the other processes that torchrun started, if it did.

    device: cpu (gloo) or cuda (NCCL, one GPU a process).
    """
    if not distributed.is_torchelastic_launched():
        yield ALONE
        return
    if device == "cuda":
        torch.cuda.set_device(distributed.get_node_local_rank())
    distributed.init_process_group("nccl" if device == "cuda" else "gloo", timeout=PATIENCE)
    try:
        team = Team(distributed.get_rank(), distributed.get_world_size())
        yield team
        team.wait()  # one that leaves earlier takes its connections with it
    finally:
        gc.collect()  # cut weights hold connections that must not outlive the group
        distributed.destroy_process_group()


class Signals:
    """Whether somebody wants the processes to stop; none stops in the middle of an exchange."""

    def __init__(self) -> None:
        self.stop = False

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.stop = True

    @contextmanager
    def heeded(self, team: Team) -> Iterator[Signals]:
        """Note Ctrl-C and torchrun's SIGTERM meanwhile; one process alone stops at once instead."""
        if team.size == 1:
            yield self
            return
        before = {one: signal.signal(one, self._note) for one in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def sharded(model: nn.Module, team: Team) -> nn.Module:
    """Cut a model's weights over the processes (FSDP2), in place.

    Each block is put together when it computes; what is outside of blocks stays whole from the
    forward pass to the backward pass, because losses read it too. Zhao et al. 2023, "PyTorch FSDP".
    """
    device = next(model.parameters()).device
    mesh = init_device_mesh(device.type, (team.size,))
    for module in [one for one in model.modules() if isinstance(one, Block)] + [model]:
        cut = fully_shard(module, mesh=mesh)
        cut.set_gradient_divide_factor(1.0)  # losses are divided by the whole batch's count
        cut.set_force_sum_reduction_for_comms(True)  # gloo knows no other
    return model


def working_copy(model: nn.Module, team: Team, *, shard: bool) -> nn.Module:
    """The model itself, or a copy that will be cut over the processes."""
    if team.size == 1 or not shard:
        return model
    return deepcopy(model)


def is_cut(model: nn.Module) -> bool:
    """Whether the model's weights are cut over the processes."""
    return isinstance(model, FSDPModule)


def put_together(cut: nn.Module, model: nn.Module) -> None:
    """Copy the trained weights of a cut model into the whole one; every process has to call it."""
    if cut is model:
        return
    whole_parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name, parameter in cut.named_parameters():
            if parameter.requires_grad:
                whole_parameters[name].copy_(whole(parameter.detach()))


def forget_copies(model: nn.Module) -> None:
    """Drop whole weights that a forward pass put together, after which nothing went backward."""
    if is_cut(model):
        model.reshard()  # type: ignore[operator]


def whole(tensor: Tensor) -> Tensor:
    """A tensor put together from all processes, each of which has to call this."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def placed_as(tensor: Tensor, like: Tensor) -> Tensor:
    """A whole tensor, cut over the processes and on the device as another is."""
    if isinstance(like, DTensor):
        device = like.to_local().device
        return distribute_tensor(tensor.to(device), like.device_mesh, like.placements)
    return tensor.to(like.device)
