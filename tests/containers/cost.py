"""What reading one header costs: `python cost.py KIND PATH` prints it in JSON.

The process holds itself to the address space that it has plus the file's size and 32 MB.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

from noria.containers.gguf import read_gguf
from noria.containers.safetensors import read_safetensors_header
from noria.errors import FormatError
from noria.runtime import peak_memory_bytes, reset_peak_memory

READERS = {"gguf": read_gguf, "safetensors": read_safetensors_header}


def main(kind: str, path: Path) -> None:
    """Read once, and say whether it was refused, what the processor did and what memory rose by."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    allowed = pages * resource.getpagesize() + path.stat().st_size + 32 * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (allowed, allowed))
    reset_peak_memory()
    before_bytes, start_s = peak_memory_bytes(), time.process_time()
    refusal = ""
    try:
        READERS[kind](path)
    except FormatError as error:
        refusal = str(error)
    elapsed_s, risen_bytes = time.process_time() - start_s, peak_memory_bytes() - before_bytes
    print(json.dumps({"refusal": refusal, "elapsed_s": elapsed_s, "risen_bytes": risen_bytes}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
