"""Metrics of a run as JSON lines, one object a line, readable while the run goes on; and MLflow's.

In: names and numbers, step by step. Out: a file of ours, and where the recipe asks for it the same
numbers in an MLflow store of the user's.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from noria.errors import MissingExtra, StorageError

MAX_PARAMETER = 500  # characters of one that MLflow keeps


class MetricsLog:
    """Appends one JSON object a line; every line is flushed, so a reader may follow."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: IO[str] = path.open("a", encoding="utf-8")

    def write(self, values: Mapping[str, Any]) -> None:
        """Append one line."""
        self._file.write(json.dumps(dict(values)) + "\n")
        self._file.flush()

    def __enter__(self) -> MetricsLog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()


class Mirror:
    """A training as a run of MLflow; one that goes on after a stop is the same run.

    uri: `sqlite:///runs.db` (relative to `folder`) or an address of a tracking server.
    Raises MissingExtra without MLflow, StorageError if the store can't be reached.
    """

    def __init__(
        self,
        uri: str,
        folder: Path,
        experiment: str,
        stage: str,
        training: str,
        facts: Mapping[str, Any],
    ) -> None:
        try:
            from mlflow import MlflowClient
            from mlflow.entities import Metric
            from mlflow.exceptions import MlflowException
        except ImportError as error:
            raise MissingExtra("mirroring metrics to MLflow (track.mlflow)", "track") from error
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        self._metric = Metric
        self._uri = uri
        if uri.startswith("sqlite:///") and not uri.startswith("sqlite:////"):
            uri = f"sqlite:///{folder / uri.removeprefix('sqlite:///')}"
        try:
            self._client = MlflowClient(tracking_uri=uri)
            known = self._client.get_experiment_by_name(experiment)
            number = known.experiment_id if known else self._client.create_experiment(experiment)
            found = self._client.search_runs([number], f"tags.training = '{training}'")
            if found:
                self._run_id = found[0].info.run_id
                self._client.update_run(self._run_id, status="RUNNING")
            else:
                tags = {"training": training, "stage": stage}
                run = self._client.create_run(number, tags=tags, run_name=f"{stage} {training}")
                self._run_id = run.info.run_id
                for key, value in facts.items():
                    self._client.log_param(self._run_id, key, str(value)[:MAX_PARAMETER])
        except (MlflowException, OSError) as error:
            raise StorageError(
                f"MLflow's store {self._uri} can't be used ({str(error).splitlines()[0]})",
                "a store that can be written, such as sqlite:///runs.db",
                "correct track.mlflow or leave it out",
            ) from error

    def write(self, step: int, values: Mapping[str, Any]) -> None:
        """Log a step's numbers; MLflow has no room for what is none."""
        now = round(time.time() * 1000)
        metrics = [
            self._metric(name, float(value), now, step)
            for name, value in values.items()
            if isinstance(value, int | float) and isfinite(value)
        ]
        self._client.log_batch(self._run_id, metrics)

    def __enter__(self) -> Mirror:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        stopped = kind is not None
        self._client.set_terminated(self._run_id, status="KILLED" if stopped else "FINISHED")
