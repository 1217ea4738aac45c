"""Train a small model on exported features, and score it on weeks that it has not seen.

It predicts a metric of the next week from all metrics of this week, and says how far off it is beside the plainest guess:
next week is like this week. Needs Python 3.11, pandas, pyarrow and scikit-learn:

    classpulse features class --from 2026-W37 --out classes.parquet
    python train.py classes.parquet correct_rate

The columns are explained in classes.parquet.card.json. Weeks are split by time, never at random: a model that has seen next
Tuesday knows too much about next Wednesday.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import pandas as pd
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.metrics import mean_absolute_error
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

#: Of the weeks with a next week, the share from the beginning on which the model is trained.
TRAINED_SHARE = 0.7


def with_next_week(rows: pd.DataFrame, target: str) -> pd.DataFrame:
    """Return the rows whose entity has the target this week and in the next, with the latter as ``next``."""
    following = rows[["entity_id", "week", target]].rename(columns={target: "next"})
    following["week"] = following["week"] - pd.Timedelta(weeks=1)
    return rows.merge(following, on=["entity_id", "week"]).dropna(subset=[target, "next"])


def trained(rows: pd.DataFrame, features: list[str], target: str) -> dict[str, Any]:
    """Train on the earlier weeks; return how far off the model and the plainest guess are on the later ones."""
    weeks = sorted(rows["week"].unique())
    if len(weeks) < 2:
        raise SystemExit(f"{target} is known in too few weeks: export more with --from")
    split = weeks[min(len(weeks) - 1, max(1, round(TRAINED_SHARE * len(weeks))))]
    early, late = rows[rows["week"] < split], rows[rows["week"] >= split]
    model = make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler(), Ridge())
    model.fit(early[features], early["next"])
    return {
        "target": target,
        "features": len(features),
        "trained_on_rows": len(early),
        "scored_on_rows": len(late),
        "mean_absolute_error": round(float(mean_absolute_error(late["next"], model.predict(late[features]))), 4),
        "mean_absolute_error_of_no_change": round(float(mean_absolute_error(late["next"], late[target])), 4),
    }


def main() -> int:
    """Read the file and its card, train, and print the result as one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="what 'classpulse features' wrote")
    parser.add_argument("target", help="a column of the file, such as correct_rate")
    options = parser.parse_args()
    card = json.loads(Path(f"{options.file}.card.json").read_text(encoding="utf-8"))
    features = [column["column"] for column in card["columns"]]
    if options.target not in features:
        parser.error(f"{options.target} is no feature of {options.file}; there are {', '.join(features)}")
    rows = pd.read_parquet(options.file)
    rows["week"] = pd.to_datetime(rows["week"])
    sys.stdout.write(json.dumps(trained(with_next_week(rows, options.target), features, options.target)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
