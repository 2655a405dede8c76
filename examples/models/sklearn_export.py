"""Write the predictions of a scikit-learn classifier for `fair-distill gate model`.

    python examples/models/sklearn_export.py adult predictions.parquet

The folder contains adult.data and adult.test of the UCI repository.
"""

import sys
from pathlib import Path

import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

NUMBERS = ["age", "education_num", "capital_gain", "capital_loss", "hours_per_week"]
CATEGORIES = ["workclass", "marital_status", "occupation", "relationship", "native_country"]
NAMES = [
    *("age", "workclass", "fnlwgt", "education", "education_num", "marital_status", "occupation", "relationship"),
    *("race", "sex", "capital_gain", "capital_loss", "hours_per_week", "native_country", "income"),
]


def read(path: Path) -> pd.DataFrame:
    table = pd.read_csv(path, names=NAMES, skipinitialspace=True, comment="|")
    return table.assign(income=table["income"].str.rstrip("."))


folder, output = map(Path, sys.argv[1:])
learn, test = read(folder / "adult.data"), read(folder / "adult.test")
columns = make_column_transformer(
    (OneHotEncoder(handle_unknown="ignore"), CATEGORIES),
    (StandardScaler(), NUMBERS),
)
model = make_pipeline(columns, LogisticRegression(max_iter=500)).fit(learn, learn["income"])

# The export: one row for each example.
predictions = test[["sex", "race"]].assign(example=range(len(test)), label=test["income"])
predictions["predicted"] = model.predict(test)
predictions["probability"] = model.predict_proba(test).max(axis=1)
predictions.to_parquet(output, index=False)
