"""Where the time of a step goes: some steps under torch's profiler, by kind of work, as a table."""

from __future__ import annotations

from collections import defaultdict

from pace import Finished
from torch.profiler import ProfilerActivity, profile

# The first that a name contains decides; the names are those of torch's operators and of inductor.
KINDS = {
    "attention": ("attention", "sdpa"),
    "matrix products": ("mm", "matmul", "linear", "onednn", "mkldnn", "bmm"),
    "compiled blocks' other work": ("compiledf", "cpp_fused", "torch-compiled"),
    "optimizer and clipping": ("adam", "foreach", "_norm", "clip", "zero_grad"),
    "copies and casts": ("copy", "_to", "::to", "clone", "cat", "contiguous"),
    "embedding and loss": ("embedding", "index", "nll", "softmax", "gather", "logsumexp"),
    "products and sums by element": ("mul", "add", "sub", "div", "silu", "gelu", "sum", "mean"),
}


class Profiled:
    """Stands where a Pace stands: profiles the steps after the warm ones, prints, and ends."""

    def __init__(self, num_warm_steps: int, num_steps: int, tokens_per_step: int) -> None:
        self._num_warm_steps, self._num_steps = num_warm_steps, num_steps
        self._tokens_per_step = tokens_per_step
        self._profile = profile(activities=[ProfilerActivity.CPU])
        self._done = 0

    def step_done(self) -> None:
        """Count a step. Raises Finished after the last one."""
        self._done += 1
        if self._done == self._num_warm_steps:
            self._profile.start()
        elif self._done == self._num_warm_steps + self._num_steps:
            self._profile.stop()
            self._print()
            raise Finished

    def _print(self) -> None:
        seconds: dict[str, float] = defaultdict(float)
        calls: dict[str, int] = defaultdict(int)
        events = self._profile.key_averages()
        for event in events:
            name = event.key.lower()
            kind = next((k for k, parts in KINDS.items() if any(p in name for p in parts)), "rest")
            seconds[kind] += event.self_cpu_time_total / 1e6 / self._num_steps
            calls[kind] += event.count // self._num_steps
        total = sum(seconds.values())
        print(f"a step of {self._tokens_per_step:,} tokens: {total:.2f} s", flush=True)
        for kind in sorted(seconds, key=seconds.__getitem__, reverse=True):
            print(f"{seconds[kind] / total:6.1%}  {seconds[kind]:7.3f} s  {calls[kind]:7,}  {kind}")
        print(events.table(sort_by="self_cpu_time_total", row_limit=24, max_name_column_width=50))
