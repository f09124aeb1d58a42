"""Reads a Delta Lake table with readers that are not ours, and prints what each finds, a line of JSON each.

    python3 readers.py FOLDER

Each line is [reader, rows, counts]: the rows in order of their ranks, and how many there are by pipeline and date,
as the reader's own engine counts them.
"""

import json
import os
import sys

os.environ.update(RAY_AUTH_MODE="disabled", RAY_USAGE_STATS_ENABLED="0", DAFT_PROGRESS_BAR="0")
folder = sys.argv[1]
columns = ["id", "pipeline", "date", "status", "created_at", "data", "measurement_temp"]


def by_polars():
    import polars

    table = polars.scan_delta(folder)
    rows = table.sort("rank").select(columns).collect().rows()
    counts = table.group_by("pipeline", "date").len().sort("pipeline", "date").collect().rows()
    return rows, counts


def by_daft_on_ray():
    import daft
    import ray

    ray.init(num_cpus=1, log_to_driver=False, include_dashboard=False, object_store_memory=100_000_000)
    daft.set_runner_ray()
    table = daft.read_deltalake(folder)
    rows = table.sort("rank").select(*columns).to_pylist()
    grouped = table.groupby("pipeline", "date").agg(daft.col("id").count())
    counts = grouped.sort(["pipeline", "date"]).to_pylist()
    return [list(row.values()) for row in rows], [list(row.values()) for row in counts]


for reader in (by_polars, by_daft_on_ray):
    rows, counts = reader()
    print(json.dumps([reader.__name__, rows, counts], default=lambda value: value.isoformat()))
