"""Trains on a disk that has room for few checkpoints, then on the same disk when it has more."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import tempfile
from pathlib import Path

import torch
from small_training import run

from noria.cli.screen import report_error
from noria.model.weights import model_weight_hash
from noria.train import loop
from noria.train.plan import StepReport

torch.set_num_threads(1)
loop.CHECKPOINT_EVERY_S = 0.0
disk = Path(tempfile.mkdtemp())
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)], check=True)


def fill(report: StepReport) -> None:
    if report.step == 4:  # the third checkpoint is written, the fourth will find no room
        with (disk / "filling").open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(bytes(10_000)):
                pass


try:
    run(disk / "run", watch=fill)
except Exception as error:
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        report_error(error, as_json=False)
    print(said.getvalue().strip())
newest = sorted((disk / "run" / "ckpt").glob("step-*"))[-1]
print(f"step {json.loads((newest / 'state.json').read_text())['step']} of 12 is whole")
(disk / "filling").unlink()
seen: list[int] = []
resumed, _ = run(disk / "run", watch=lambda report: seen.append(report.step))
print(f"went on with step {seen[0]}")
whole, _ = run(Path(tempfile.mkdtemp()))
print("the same weights" if model_weight_hash(resumed) == model_weight_hash(whole) else "others")
