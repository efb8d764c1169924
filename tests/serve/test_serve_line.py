"""The line between server and worker: bounded frames, checked messages, freed places."""

from __future__ import annotations

import gc
import io
import socket
import struct
import weakref
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from serving_world import World, write_model, write_task

from noria.errors import FormatError, InputError, MissingExtra, NoriaError, UnknownName, UsageError
from noria.generate.batching import Stopped
from noria.generate.forms import regex_form
from noria.generate.sampling import Sampling
from noria.serve.worker.answering import error_told, sampling_from_json
from noria.serve.worker.frames import MAX_FRAME_BYTES, frame_of, read_frame
from noria.serve.worker.jobs import Jobs
from noria.serve.worker.messages import (
    Piece,
    WorkerGone,
    error_from_json,
    error_to_json,
    piece_from_json,
    piece_to_json,
)
from noria.serve.worker.outgoing import Outgoing


class Kept:
    """What a worker would have sent."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []

    def put(self, message: Any) -> None:
        made = message() if callable(message) else message
        if made is not None:
            self.messages.append(made)

    def of(self, number: int) -> list[dict[str, Any]]:
        return [one for one in self.messages if one.get("id") == number]


class NoRoom(io.BytesIO):
    """A line from which no more than a length may be read."""

    def read(self, size: int | None = -1) -> bytes:
        assert size == 4
        return super().read(size)


def test_messages_come_out_as_they_went_in() -> None:
    messages = [{"id": 1, "text": "我的\ud800包"}, {"numbers": [1.5, float("-inf"), None]}]
    line = io.BytesIO(frame_of(messages) + frame_of([]))
    assert read_frame(line) == messages
    assert read_frame(line) == []
    assert read_frame(line) is None


def test_a_frame_that_is_too_large_is_refused_before_there_is_room_for_it() -> None:
    with pytest.raises(FormatError, match=str(MAX_FRAME_BYTES)):
        read_frame(NoRoom(struct.pack(">I", MAX_FRAME_BYTES + 1)))
    with pytest.raises(FormatError):
        frame_of([{"text": "x" * MAX_FRAME_BYTES}])


@pytest.mark.parametrize(
    "data", [b"\0\0", b"\0\0\0\2{", b"\0\0\0\2{}", b"\0\0\0\1x", b"\0\0\0\3[1]", b"\0\0\0\1\xff"]
)
def test_anything_but_a_list_of_messages_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        read_frame(io.BytesIO(data))
    with pytest.raises(FormatError):
        read_frame(io.BytesIO(struct.pack(">I", 10**6) + b"[" * 10**6))


def test_pieces_and_settings_come_out_as_they_went_in() -> None:
    for piece in (
        Piece("a", None, 3, 1),
        Piece("", "stop", 3, 2, ({"token": "a"},), "before", {"tokens": []}),
    ):
        assert piece_from_json(piece_to_json(piece)) == piece
    for wrong in (None, [], ["a", 1, 2, 3], ["a", None, "3", 1], ["a", None, 3, 1, [], "", []]):
        with pytest.raises(FormatError):
            piece_from_json(wrong)
    wanted = Sampling(stop=("a", "b"), logit_bias=((3, 1.5),), constraint=regex_form("a+"), seed=4)
    assert sampling_from_json(asdict(wanted)) == wanted
    with pytest.raises(UsageError):
        sampling_from_json({**asdict(wanted), "top_p": 7})


def test_an_error_crosses_the_line_as_what_it_is_and_a_strangers_says_nothing() -> None:
    told = error_from_json(error_to_json(UnknownName("given", "expected", "fix")))
    assert (type(told), str(told)) == (UnknownName, "given; expected expected; fix")
    assert type(error_from_json(error_told(MissingExtra("llguidance", "constrain")))) is UsageError
    assert type(error_from_json(error_told(InputError("a file")))) is InputError
    assert type(error_from_json(error_told(Stopped("closed")))) is WorkerGone
    strange = error_from_json(error_told(RuntimeError("a user's text")))
    assert type(strange) is NoriaError and "text" not in str(strange)
    assert type(error_from_json({"kind": "SystemExit"})) is NoriaError
    assert type(error_from_json("no object")) is NoriaError


def test_a_message_that_can_not_be_sent_takes_no_other_with_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ours, theirs = socket.socketpair()
    outgoing = Outgoing(theirs)
    for message in ({"id": 1}, {"id": 2, "result": object()}, lambda: 1 // 0, {"id": 3}):
        outgoing.put(message)  # type: ignore[arg-type]
    outgoing.start()
    heard: list[dict[str, Any]] = []
    with ours, theirs, ours.makefile("rb") as line:
        while len(heard) < 3:
            heard += read_frame(line) or []
    assert [one["id"] for one in heard] == [1, 2, 3]
    assert heard[1]["error"]["kind"] == "NoriaError"
    assert "could not be made" in caplog.text


def asked(number: int, **sampling: Any) -> dict[str, Any]:
    settings = asdict(Sampling(temperature=0, **sampling))
    request = {"tenant": "t", "prompt": "Where", "sampling": settings, "is_scored": False}
    return {"do": "answer", "id": number, "model": 1, **request}


def test_a_cancelled_answer_frees_its_place_and_an_unloaded_model_its_memory(
    tmp_path: Path,
) -> None:
    write_model(tmp_path / "a", "a")
    kept = Kept()
    jobs = Jobs(kept, 2)  # type: ignore[arg-type]
    jobs.take(
        {"do": "load", "id": 9, "kind": "language", "folder": str(tmp_path / "a"), "model": 1}
    )
    World.until(lambda: bool(kept.of(9)))
    engine = jobs._engines.of(jobs._models[1])  # type: ignore[arg-type]
    for number in range(20, 24):
        jobs.take(asked(number, max_tokens=3000))
        World.until(lambda n=number: len(kept.of(n)) > 3)  # type: ignore[misc]
        jobs.take({"do": "cancel", "of": number})
        steps = engine.state.num_steps
        World.until(lambda: engine.state.num_running == 0)
        assert engine.state.num_steps <= steps + 2
        assert engine.state.num_blocks_read == 0
        assert not any("last" in one for one in kept.of(number))
    jobs.take({"do": "cancel", "of": 77})  # of nobody
    jobs.take(asked(30, max_tokens=5, stop=("aaa",)))
    World.until(lambda: "last" in kept.of(30)[-1] if kept.of(30) else False)
    assert kept.of(30)[-1]["piece"][:2] == ["", "stop"]
    assert jobs._answers == {}
    loaded = weakref.ref(jobs._models[1])
    del engine
    jobs.take({"do": "unload", "model": 1})
    World.until(lambda: {"unloaded": 1} in kept.messages)
    assert jobs._engines.open == []
    gc.collect()
    assert loaded() is None
    jobs.take(asked(31))
    World.until(lambda: bool(kept.of(31)))
    assert kept.of(31)[0]["error"]["kind"] == "NoriaError"


def test_what_goes_wrong_is_told_to_the_one_who_asked(tmp_path: Path) -> None:
    write_task(tmp_path / "tongue")
    kept = Kept()
    jobs = Jobs(kept, 2)  # type: ignore[arg-type]
    load = {"do": "load", "kind": "task", "folder": str(tmp_path / "tongue"), "model": 1}
    jobs.take({**load, "id": 1})
    jobs.take({**load, "id": 2, "folder": str(tmp_path / "nothing"), "model": 2})
    World.until(lambda: bool(kept.of(1) and kept.of(2)))
    assert kept.of(1)[0]["result"]["labels"] == ["en", "zh"]
    assert kept.of(2)[0]["error"]["kind"] == "FormatError"
    for number, texts in ((3, ["Where is it?"]), (4, [""]), (5, None)):
        jobs.take({"do": "predict", "id": number, "model": 1, "texts": texts})
    World.until(lambda: bool(kept.of(3) and kept.of(4) and kept.of(5)))
    assert kept.of(3)[0]["result"][0]["labels"] == ["en"]
    assert kept.of(4)[0]["error"]["kind"] == "UsageError"
    assert kept.of(5)[0]["error"] == {"kind": "NoriaError", "given": "the worker's TypeError"}
