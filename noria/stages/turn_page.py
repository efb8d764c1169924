"""The page of one turn, which a person reads in a minute: what was decided, and on what it rests.

In: a verdict and what feedback brought. Out: `turn-MODEL.html` in the store. Nothing is measured or
decided here.
"""

from __future__ import annotations

import time
from pathlib import Path

from noria.evaluate.contents import AuditRow, Report
from noria.evaluate.report import render_report
from noria.improve.verdict import PROMOTE, REFUSE, Verdict, gate_section
from noria.runtime import machine_name
from noria.stages.task_page import stage_rows
from noria.workspace import Workspace

_SAID = {PROMOTE: "may go live", REFUSE: "was refused"}


def write_turn_page(
    workspace: Workspace, model: str, verdict: Verdict, brought: str, task: str = ""
) -> Path:
    """Write the page of a turn of that model; `brought`: one sentence on challenger - control."""
    live = workspace.registry.live(workspace.tenant, model)
    said = _SAID.get(verdict.decision, "could not be judged on what there is")
    report = Report(
        name=model,
        made_at=time.time(),
        machine=machine_name(),
        headline=f"The challenger {said}: {'; '.join(verdict.reasons)}. {brought}",
        live_hash=live.weight_hash if live else "",
        stages=stage_rows(workspace),
        gates=(gate_section(verdict, task),),
        audit=tuple(
            AuditRow(one.at, one.actor, one.action, one.weight_hash, one.reason)
            for one in workspace.registry.history(workspace.tenant, model)
        ),
    )
    path = workspace.root / f"turn-{model}.html"
    render_report(report, path)
    return path
