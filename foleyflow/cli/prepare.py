"""`foleyflow data prepare`: compute the cached features that a training needs."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from foleyflow.cli.console import stages_on_stderr
from foleyflow.cli.options import SIMULATED, Ray, Recipe, Settings
from foleyflow.cli.shared_options import Result, printing
from foleyflow.errors import UsageError

if TYPE_CHECKING:
    from foleyflow.features.store_workers import ShardReport


@printing
def prepare(
    task: Annotated[str, Argument(metavar="TASK", help="codec, align, flow or vocoder.")],
    recipe: Recipe = "tiny",
    data: Annotated[Path, Option(help="Folder of the data set.")] = SIMULATED,
    set_: Settings = None,
    ray: Ray = None,
    workers: Annotated[
        int,
        Option(
            min=0,
            help="With --ray: largest number of workers; 0 for as many as the cluster has room "
            "for, each with its GPU where there are GPUs.",
        ),
    ] = 0,
    workers_per_gpu: Annotated[
        int,
        Option(
            min=1,
            help="With --ray: workers that share a GPU, so that one decodes while another one "
            "computes.",
        ),
    ] = 1,
) -> Result:
    """Compute the cached features that a training needs. Rerun to resume.

    With --ray, this process computes nothing. Workers write shards of clips, and a run that was
    stopped continues with the shards that are missing.
    """
    from foleyflow.features.store_workers import StoreWorkers
    from foleyflow.parallel.ray_cluster import RayCluster
    from foleyflow.recipes import recipe_named
    from foleyflow.recipes.overrides import override
    from foleyflow.training.run import prepare as prepare_features

    if ray is None and (workers or workers_per_gpu != 1):
        raise UsageError(
            "--workers and --workers-per-gpu: expected --ray too", hint="add --ray local"
        )
    settings = override(recipe_named(task, recipe), set_ or [])
    throughput = _Throughput()
    with ExitStack() as stack:
        store_workers = None
        if ray is not None:
            cluster = stack.enter_context(RayCluster(ray))
            show = stack.enter_context(stages_on_stderr())

            def record(report: ShardReport) -> None:
                show(report.store, throughput.add(report), report.total)

            store_workers = StoreWorkers(
                cluster=cluster,
                workers=workers,
                workers_per_gpu=workers_per_gpu,
                on_shard=record,
            )
        windows = prepare_features(settings, data, store_workers)
    listed = ", ".join(f"{count} windows of {split}" for split, count in windows.items())
    text = "\n".join([f"{data}: {listed} are ready", *throughput.lines()])
    return {"windows": windows, "stores": throughput.to_json()}, text


class _Throughput:
    """Clips or windows, and seconds, of each worker and store."""

    def __init__(self) -> None:
        self._stores: dict[str, dict[str, list[float]]] = {}
        self._on_gpu: dict[str, bool] = {}

    def add(self, report: ShardReport) -> int:
        """Counts a shard; returns the entries of its store so far."""
        store = self._stores.setdefault(report.store, {})
        counts = store.setdefault(report.worker, [0, 0.0])
        counts[0] += report.entries
        counts[1] += report.took_s
        self._on_gpu[report.store] = report.on_gpu
        return int(sum(entries for entries, _ in store.values()))

    def to_json(self) -> list[dict[str, Any]]:
        """The stores in the order in which they were computed."""
        return [
            {
                "store": name,
                "gpu": self._on_gpu[name],
                "found": int(workers.get("", [0])[0]),  # in shards of an earlier run
                "workers": [
                    {
                        "worker": worker,
                        "entries": int(entries),
                        "entries_per_s": round(entries / max(took_s, 1e-9), 2),
                    }
                    for worker, (entries, took_s) in sorted(workers.items())
                    if worker
                ],
            }
            for name, workers in self._stores.items()
        ]

    def lines(self) -> list[str]:
        """One line for each store and for each worker."""
        lines = []
        for store in self.to_json():
            entries = sum(worker["entries"] for worker in store["workers"])
            device = "on GPUs" if store["gpu"] else "on processors"
            lines.append(
                f"{store['store']}: {entries} computed by {len(store['workers'])} workers {device}"
                + (f", {store['found']} found" if store["found"] else "")
            )
            lines += [
                f"{worker['entries_per_s']:10.2f} per second by {worker['worker']} "
                f"({worker['entries']})"
                for worker in store["workers"]
            ]
        return lines
