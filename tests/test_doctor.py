"""What `noria doctor` says of a machine."""

from __future__ import annotations

import pytest

from noria import doctor


@pytest.mark.parametrize(
    ("has_vnni", "numba", "state", "said"),
    [
        (True, object(), "ok", "compiled"),
        (True, None, "note", "pip install 'noria[fast]'"),
        (False, object(), "note", "no AVX-512 VNNI"),
    ],
)
def test_doctor_says_how_rounded_inputs_are_multiplied(
    monkeypatch: pytest.MonkeyPatch, has_vnni: bool, numba: object, state: str, said: str
) -> None:
    monkeypatch.setattr(doctor, "has_fast_int8", lambda: has_vnni)
    monkeypatch.setattr(doctor, "find_spec", lambda name: numba)
    (found,) = [one for one in doctor.examine_machine() if one.what == "int8-dynamic"]
    assert found.state == state
    assert said in found.finding
