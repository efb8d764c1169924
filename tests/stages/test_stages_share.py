"""Whose feedback a turn learns from: one tenant's, or with `improve.share` that of all."""

from __future__ import annotations

from pathlib import Path

import pytest

from noria.cli.screen import Silent
from noria.feedback.reviews import TAKE
from noria.stages.curation import decide
from noria.workspace import Workspace, open_workspace

RECIPE = """name = "desk"
[corpus]
documents = ["*.txt"]
names = "off"
[improve]
share = {share}
"""


def opened(folder: Path, *, share: bool) -> Workspace:
    """A workspace of two tenants; each corrected an answer, and one correction has a review."""
    path = folder / "desk.toml"
    path.write_text(RECIPE.format(share=str(share).lower()), encoding="utf-8")
    workspace = open_workspace(path, None, Silent(), "acme")
    for tenant in ("acme", "other"):
        workspace.feedback.record_interaction(
            tenant=tenant,
            interaction_id=f"of {tenant}",
            model_name="desk",
            weight_hash="0" * 64,
            kind="completion",
            prompt="Where is it?",
            answer="Here.",
        )
        workspace.feedback.record_feedback(tenant, f"of {tenant}", "correction", f"By {tenant}.")
    return workspace


@pytest.mark.parametrize(
    ("share", "heard"), [(False, {"By acme."}), (True, {"By acme.", "By other."})]
)
def test_a_turn_learns_from_its_own_tenant_unless_the_recipe_shares(
    tmp_path: Path, share: bool, heard: set[str]
) -> None:
    with opened(tmp_path, share=share) as workspace:
        assert {one.value for _, one in workspace.said()} == heard
        assert len(workspace.interactions()) == len(heard)


def test_a_decision_about_shared_feedback_is_its_own_tenants(tmp_path: Path) -> None:
    with opened(tmp_path, share=True) as workspace:
        theirs = workspace.feedback.feedback("other")[0].id
        decide(workspace, theirs, TAKE, "ann")
        assert set(workspace.latest_reviews()) == {theirs} == set(workspace.reviews.latest("other"))
        assert not workspace.reviews.latest("acme")
