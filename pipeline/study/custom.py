"""A user's own variants: [[variant]] tables of a TOML file, checked, and set behind the study's own table.

The tables may stand in an experiment file, so that a whole study is one file, or in a file of their own. Their keys are
the words of study.variants; docs/own-study.md says what each may hold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pipeline.images import LARGEST, Images
from pipeline.study.fields import TEXT, TRUTH, Key, check_table, choice, pattern, refuse, require_keys, whole, words
from pipeline.study.layers import find_misfit
from pipeline.study.variants import VARIANTS, Variant, Variants

LARGEST_IMAGES = Images(height=LARGEST, width=LARGEST, channels=3)
WIDTH = "[1-9][0-9]{0,3}"
VARIANT_KEYS: Mapping[str, Key] = {
    "name": pattern(
        r"[A-Za-z][\w.-]{0,59}", "a letter, then letters, digits, dot, dash and underscore, 60 in all at most"
    ),
    "kernel": whole(1, LARGEST),
    "features": words(f"{WIDTH}|M|D", 'widths of convolutions, M and D, as "8 M D 16 M D"'),
    "head": words(f"{WIDTH}|B|D", 'widths of dense layers, B and D, as "32 B D"'),
    "conv_padding": choice("valid", "same"),
    "pool_padding": words("valid|same", '"valid" or "same", or one of them for each M'),
    "regularised": TRUTH,
    "twin": TEXT,
    "depth_called": whole(1, 1000),
    "note": TEXT,
}
REQUIRED = ("name", "kernel", "features", "head")
ALIKE = ("kernel", "conv_padding", "pool_padding")


def add_rows(path: Path, tables: Sequence[dict[str, Any]]) -> Variants:
    """The study's table with a file's [[variant]] tables behind it.

    Raises:
        ExperimentError: one line with the file, the table and the remedy.
    """
    rows: dict[str, Variant] = {}
    for order, table in enumerate(tables, start=1):
        require_keys(path, f"variant[{order}].", table, ("name",))
        place = f"variant[{table['name']}]."
        check_table(path, place, table, VARIANT_KEYS)
        require_keys(path, place, table, REQUIRED)
        if table["name"] in VARIANTS:
            raise refuse(path, place + "name", "the study has a variant of that name; give another")
        if table["name"] in rows:
            raise refuse(path, place + "name", "taken by another table; give each its own")
        rows[table["name"]] = build_row(path, place, table)
    for row in rows.values():
        _check_twin(path, row, rows)
    return MappingProxyType({**VARIANTS, **rows})


def list_own(variants: Variants) -> tuple[Variant, ...]:
    """The rows that are not of the study's own table."""
    return tuple(row for name, row in variants.items() if name not in VARIANTS)


def build_row(path: Path, place: str, table: dict[str, Any]) -> Variant:
    """The row of a table whose keys are known; refuses what no network can be built of, whatever the images."""
    features = table["features"].split()
    depth, poolings = sum(token.isdigit() for token in features), features.count("M")
    if not depth:
        raise refuse(path, place + "features", "has no convolution; give at least one width")
    paddings = table.get("pool_padding", "valid").split()
    if len(paddings) not in (1, poolings):
        raise refuse(path, place + "pool_padding", f"has {len(paddings)} words; give 1, or {poolings}: one for each M")
    texts: dict[str, Any] = {
        name: " ".join(table[name].split()) for name in ("features", "head", "pool_padding") if name in table
    }
    said: dict[str, Any] = {"depth_called": depth, **table, **texts, "published": False}
    row = Variant(**said)
    if misfit := find_misfit(row, LARGEST_IMAGES):
        raise refuse(path, place + "features", misfit)
    return row


def _check_twin(path: Path, row: Variant, rows: Mapping[str, Variant]) -> None:
    """Refuse a twin that is not there, not mutual, or differs in more than the regularisation."""
    if row.twin is None:
        return
    key = f"variant[{row.name}].twin"
    if row.twin not in rows:
        raise refuse(path, key, f'"{row.twin}" is no [[variant]] of this file; add it, or drop the key')
    twin = rows[row.twin]
    if twin.twin != row.name:
        raise refuse(path, key, f'"{twin.name}" does not name it back; give it twin = "{row.name}"')
    if twin.regularised == row.regularised:
        raise refuse(path, key, "one of the two must be regularised and the other not; set regularised")
    other = [name for name in ALIKE if getattr(row, name) != getattr(twin, name)]
    other += [name for name in ("features", "head") if _strip(getattr(row, name)) != _strip(getattr(twin, name))]
    if other:
        raise refuse(
            path, key, f'"{twin.name}" has another {" and ".join(other)}; twins may differ in L2, D and B alone'
        )
    plain = twin if row.regularised else row
    if plain.dropout or plain.batch_norm:
        raise refuse(path, key, f'the plain twin "{plain.name}" has D or B; take them out of it')


def _strip(notation: str) -> list[str]:
    return [token for token in notation.split() if token not in ("D", "B")]
