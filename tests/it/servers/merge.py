"""Changes a Delta Lake table by MERGE, as a program does that is not ours.

    python3 merge.py FOLDER

The sample `jfk-1` becomes `labeled`, and `merged`, a copy of `jfk-2`, comes with the next rank.
"""

import sys

import polars
from deltalake import CommitProperties, DeltaTable, Transaction

RANKS = "samplestore.ranks"
folder = sys.argv[1]
table = DeltaTable(folder)
rows = polars.read_delta(folder)
rank = table.transaction_version(RANKS)
labeled = rows.filter(polars.col("id") == "jfk-1").with_columns(status=polars.lit("labeled"))
copy = rows.filter(polars.col("id") == "jfk-2").with_columns(
    id=polars.lit("merged"), rank=polars.lit(rank, polars.Int64)
)
merge = table.merge(
    polars.concat([labeled, copy]),
    "ours.id = theirs.id",
    source_alias="theirs",
    target_alias="ours",
    commit_properties=CommitProperties(app_transactions=[Transaction(RANKS, rank + 1)]),
)
merge.when_matched_update_all().when_not_matched_insert_all().execute()
