"""Carries out an example of the docs as it stands there, and prints the rows of each line that gives some, as a list in JSON.

    python3 example.py TEXT
"""

import ast
import json
import os
import sys

os.environ.update(DAFT_PROGRESS_BAR="0")
names = {}
for statement in ast.parse(sys.argv[1]).body:
    if not isinstance(statement, ast.Expr):
        exec(compile(ast.Module([statement], []), "example", "exec"), names)
        continue
    value = eval(compile(ast.Expression(statement.value), "example", "eval"), names)
    # Polars and Daft name it differently.
    rows = getattr(value, "to_dicts", None) or getattr(value, "to_pylist", None)
    if rows is not None:
        print(json.dumps(rows(), default=lambda value: value.isoformat()))
