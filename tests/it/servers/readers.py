"""Reads a Delta Lake table with readers that are not ours, and prints what each finds, a line of JSON each.

    python3 readers.py FOLDER
    python3 readers.py s3://BUCKET/PREFIX ENDPOINT

Each line is [reader, rows, counts]: the rows in order of their ranks, and how many there are by pipeline and date,
as the reader's own engine counts them.
"""

import json
import os
import sys

os.environ.update(RAY_AUTH_MODE="disabled", RAY_USAGE_STATS_ENABLED="0", DAFT_PROGRESS_BAR="0")
folder = sys.argv[1]
endpoint = sys.argv[2] if len(sys.argv) > 2 else None
key, secret, region = "tests", "of-no-value", "us-east-1"
columns = [
    "id",
    "pipeline",
    "date",
    "status",
    "created_at",
    "measured_at",
    "data",
    "measurements",
    "reason",
    "measurement_temp",
]


def by_polars():
    import polars

    options = endpoint and {
        "aws_endpoint_url": endpoint,
        "aws_access_key_id": key,
        "aws_secret_access_key": secret,
        "aws_region": region,
        "aws_allow_http": "true",
    }
    table = polars.scan_delta(folder, storage_options=options)
    rows = table.sort("rank").select(columns).collect().rows()
    counts = table.group_by("pipeline", "date").len().sort("pipeline", "date").collect().rows()
    return rows, counts


def by_daft_on_ray():
    import daft
    import ray

    ray.init(num_cpus=1, log_to_driver=False, include_dashboard=False, object_store_memory=100_000_000)
    daft.set_runner_ray()
    s3 = endpoint and daft.io.S3Config(endpoint_url=endpoint, key_id=key, access_key=secret, region_name=region, use_ssl=False)
    table = daft.read_deltalake(folder, io_config=s3 and daft.io.IOConfig(s3=s3))
    rows = table.sort("rank").select(*columns).to_pylist()
    grouped = table.groupby("pipeline", "date").agg(daft.col("id").count())
    counts = grouped.sort(["pipeline", "date"]).to_pylist()
    return [list(row.values()) for row in rows], [list(row.values()) for row in counts]


for reader in (by_polars, by_daft_on_ray):
    rows, counts = reader()
    print(json.dumps([reader.__name__, rows, counts], default=lambda value: value.isoformat()))
