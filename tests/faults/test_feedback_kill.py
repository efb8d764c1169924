"""What the feedback store said "stored" to is there after the writer is killed."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from noria.feedback.store import FeedbackStore

WRITER = """
import sys
from pathlib import Path
from noria.feedback.store import FeedbackStore
store = FeedbackStore(Path(sys.argv[1]))
number = 0
while True:
    number += 1
    asked = store.record_interaction(
        tenant="acme", interaction_id=f"cmpl-{number}", model_name="m", weight_hash="ab" * 32,
        kind="completion", prompt="Where is my parcel?" * 50, answer="On its way." * 50,
    )
    said = store.record_feedback("acme", asked.id, "correction", f"It arrived. {number}" * 50)
    print(asked.id, said.id, flush=True)
"""


@pytest.mark.parametrize("num_acknowledged", [1, 17, 60])
def test_acknowledged_feedback_survives_kill_9(tmp_path: Path, num_acknowledged: int) -> None:
    path = tmp_path / "feedback.sqlite"
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        acknowledged = [writer.stdout.readline().split() for _ in range(num_acknowledged)]
        writer.send_signal(signal.SIGKILL)
        rest = writer.stdout.read()
    assert writer.returncode == -signal.SIGKILL
    acknowledged += [line.split() for line in rest.splitlines() if len(line.split()) == 2]
    store = FeedbackStore(path)
    corrections = store.corrections("acme")
    stored = [[asked.id, said.id] for asked, said in corrections]
    assert stored[:num_acknowledged] == acknowledged[:num_acknowledged]
    assert {said_id for _, said_id in acknowledged} - {one[1] for one in stored} <= {
        acknowledged[-1][1]  # its line may have been cut by the kill
    }
    assert all(said.value.startswith("It arrived.") for _, said in corrections)
    store.record_interaction(
        tenant="acme",
        interaction_id="after",
        model_name="m",
        weight_hash="ab" * 32,
        kind="completion",
        prompt="p",
        answer="a",
    )
    store.close()
    file = sqlite3.connect(path)
    assert file.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    file.close()
