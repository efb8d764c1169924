"""The machine: device, cores, memory, compiler, cache.

The one place, beside the CLI, that looks at the machine and its environment.
torch is imported inside functions, so that `import noria` stays without it.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import platform
import resource
import shutil
import sys
from functools import cache
from pathlib import Path

_PR_SET_DUMPABLE = 4  # linux/prctl.h
LOW_PRIORITY = 10  # of 19: behind whatever serves, before what only runs on an idle machine


def detect_device() -> str:
    """`cuda` if torch sees a GPU, else `cpu`."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def backend_name() -> str:
    """What numbers were computed by, such as `torch-2.13.0-cpu`; stored beside every score."""
    import torch

    return f"torch-{torch.__version__.split('+')[0]}-{detect_device()}"


def num_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def num_local_processes() -> int:
    """How many processes torchrun has started on this machine; 1 without it."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def has_compiler() -> bool:
    """Whether a C++ compiler is there, which `torch.compile` needs on a CPU."""
    return any(shutil.which(name) for name in ("g++", "clang++", "c++"))


def has_fast_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 in hardware (AMX or AVX-512 BF16), or a GPU is there."""
    if detect_device() == "cuda":
        return True
    flags = _processor_flags()
    return "avx512_bf16" in flags or "amx_bf16" in flags


@cache
def has_fast_int8() -> bool:
    """Whether this CPU multiplies 8-bit integers in hardware (AVX-512 VNNI)."""
    return "avx512_vnni" in _processor_flags()


def _processor_flags() -> str:
    info = Path("/proc/cpuinfo")
    return info.read_text(encoding="utf-8", errors="replace") if info.exists() else ""


def machine_name() -> str:
    """A short description of this machine: processor, cores, memory."""
    model, cores = platform.processor() or platform.machine(), num_cores()
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    return f"{model}, {cores} core{'s' if cores != 1 else ''}, {memory_bytes() / 2**30:.0f} GiB"


def memory_bytes() -> int:
    """Physical memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def peak_memory_bytes(process_id: int | None = None) -> int:
    """The most memory that a process has held (resident) since the last reset, or ever.

    This process if none is named. Of another one, 0 where the system does not tell.
    """
    status = Path(f"/proc/{process_id or 'self'}/status")
    if status.exists():
        for line in status.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0 if process_id else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def child_process_ids(process_id: int) -> list[int]:
    """The processes that a process has begun and that still run, where Linux tells them."""
    found: list[int] = []
    for task in Path(f"/proc/{process_id}/task").glob("*"):
        with contextlib.suppress(OSError):
            found += map(int, (task / "children").read_text(encoding="ascii").split())
    return found


def reset_peak_memory() -> None:
    """Start a new peak, where Linux allows it (proc(5), /proc/pid/clear_refs, value 5)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def release_memory() -> None:
    """Give freed memory back to the system, where the C library offers to (malloc_trim(3))."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def switch_telemetry_off() -> None:
    """Keep MLflow from telling its makers anything; to be called before it is imported."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"


def keep_hugging_face_offline() -> None:
    """Keep Hugging Face's libraries from any request; to be called before they are imported.

    What they make of local files is kept in Noria's cache, unless the user says where.
    """
    os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    os.environ |= {"HF_HUB_DISABLE_TELEMETRY": "1", "TRANSFORMERS_OFFLINE": "1"}
    os.environ.setdefault("HF_DATASETS_CACHE", str(cache_folder() / "datasets"))


def database_url() -> str:
    """Where feedback is kept in the place of a file: $NORIA_DATABASE, or "" for the recipe's."""
    return os.environ.get("NORIA_DATABASE", "")


def master_key_text() -> str:
    """The keys that feedback is sealed under: $NORIA_MASTER_KEY, or "" for the file's."""
    return os.environ.get("NORIA_MASTER_KEY", "")


def cache_folder() -> Path:
    """The user's cache, where fetched packages lie: $XDG_CACHE_HOME/noria or ~/.cache/noria."""
    root = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(root) / "noria"


def lower_priority() -> None:
    """Let everything else on this machine go first, where the system knows priorities."""
    if hasattr(os, "nice"):
        os.nice(LOW_PRIORITY)


_PASSED_ON = ("PATH", "LANG", "LANGUAGE", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "LD_PRELOAD")
_PASSED_ON_PREFIXES = ("LC_", "OMP_", "KMP_", "MKL_", "OPENBLAS_", "GOMP_", "CUDA_")


def worker_environment() -> dict[str, str]:
    """What a process that may hold no secret is given of this one's environment.

    Where programs and libraries lie, language, threads, devices; nothing that is not listed here.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in _PASSED_ON or name.startswith(_PASSED_ON_PREFIXES)
    }
    folders = [str(Path(__file__).resolve().parents[1]), os.environ.get("PYTHONPATH", "")]
    return {**kept, "PYTHONPATH": os.pathsep.join(filter(None, folders))}


def keep_memory_private() -> None:
    """Let no other process of this user read this one's memory, environment or descriptors.

    Linux's prctl(2), PR_SET_DUMPABLE; elsewhere nothing happens. A debugger then needs root.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
