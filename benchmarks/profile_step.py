"""Where the time of our own training goes: `profile_step.py train` or `profile_step.py lora`.

The steps are those of the benchmark of that name. `make bench-setup` first.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess

import lora
import train
from judge import HERE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("training", choices=("train", "lora"))
    if parser.parse_args().training == "train":
        script = "ours/pretrain.py"
        asked = {"precision": "auto", "compile": "auto", **train.COMMON}
    else:
        script = "ours/tune.py"
        asked = {"rows": 4, "num_held_out": 4, "precision": "auto", **lora.COMMON}
    asked |= {"warm_steps": 2, "steps": 3, "profile": True}
    command = [str(train.OURS_PYTHON), "-W", "ignore", str(HERE / script), json.dumps(asked)]
    subprocess.run(command, env={**os.environ, "PYTHONPATH": str(HERE)}, check=True)


if __name__ == "__main__":
    main()
