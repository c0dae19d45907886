"""Labels of many kinds as whole numbers from 0, and splits that keep the proportions of the classes. NumPy only."""

import re
import warnings
from collections.abc import Mapping, Sequence

import numpy as np

from genmodels.readers import DatasetError, Part


def natural(text: str) -> list:
    """Return a key that sorts "2" before "10"."""
    parts = [part for part in re.split(r"(\d+)", text) if part]
    return [(0, int(part), part) if part.isdecimal() else (1, 0, part) for part in parts]


def as_classes(
    parts: Mapping[str, Part], counts: Mapping[str, int], class_names: Sequence[str] | None = None
) -> tuple[dict[str, np.ndarray] | None, tuple[str, ...]]:
    """Return labels as whole numbers from 0, and the names of the classes.

    Args:
        parts: Parts by name.
        counts: Number of images in each part.
        class_names: See `Dataset.from_arrays`.

    Returns:
        {part: int32 of shape (N,)} or None for images without labels, and one name for each class.

    Raises:
        DatasetError: The labels are unusable, or are not as many as the images.
    """
    labelled = [name for name, part in parts.items() if part.labels is not None]
    if not labelled:
        if class_names is not None:
            raise DatasetError("class_names: expected none for images without labels, got some; give labels too")
        return None, ()
    if missing := [part.name for name, part in parts.items() if name not in labelled]:
        raise DatasetError(f"{missing[0]}: expected labels as for the other images, got none; give all labels or none")
    read = {name: _as_labels(parts[name].labels, parts[name].labels_name, counts[name]) for name in labelled}
    label_name = parts["train"].labels_name
    kinds = {name: "U" if values.dtype.kind == "U" else "i" for name, (values, _) in read.items()}
    if odd := [name for name in labelled if kinds[name] != kinds["train"]]:
        raise DatasetError(f"{parts[odd[0]].labels_name}: expected labels of one kind, got texts and numbers")
    widths = [width for _, width in read.values() if width]
    found = set(range(max(widths))) if widths else set()
    found.update(*(np.unique(values).tolist() for values, _ in read.values()))
    places, names = _places(
        sorted(found, key=lambda value: natural(str(value)) if kinds["train"] == "U" else value),
        class_names,
        label_name,
    )
    known = np.array(list(places))
    order = np.argsort(known)
    numbers = np.array(list(places.values()), "int32")[order]
    return {name: numbers[np.searchsorted(known[order], values)] for name, (values, _) in read.items()}, names


def _places(values, class_names, name):
    """Return {label: its number} and the names of the classes, for the sorted labels found."""
    if class_names is None:
        if not isinstance(values[0], str) and values != list(range(len(values))):
            warnings.warn(
                f"{name}: labels from {values[0]} to {values[-1]} became 0 to {len(values) - 1}; class_names has "
                "the original ones",
                stacklevel=2,
            )
        return {value: number for number, value in enumerate(values)}, tuple(map(str, values))
    names = tuple(map(str, [class_names] if isinstance(class_names, str) else class_names))
    if len(set(names)) != len(names):
        raise DatasetError(f"class_names: expected different names, got {', '.join(names):.80}; name each class once")
    if isinstance(values[0], str):
        if unknown := [value for value in values if value not in names]:
            raise DatasetError(
                f"{name}: expected one of {', '.join(names):.80}, got {unknown[0]!r}; add it to class_names"
            )
        return {value: number for number, value in enumerate(names)}, names
    if 0 <= values[0] and values[-1] < len(names):
        return {number: number for number in range(len(names))}, names
    if len(values) == len(names):
        return {value: number for number, value in enumerate(values)}, names
    raise DatasetError(
        f"class_names: expected {len(values)} names for labels from {values[0]} to {values[-1]}, got {len(names)}; "
        "name each class once, in the order of the labels"
    )


def _as_labels(labels, name, count):
    """Return labels as integers or texts of shape (N,), and the number of classes of one-hot labels, otherwise 0."""
    labels, width = _known_kind(labels, name), 0
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim == 2 and labels.dtype.kind in "biuf" and labels.shape[1] > 1:
        if not (np.isin(labels, (0, 1)).all() and (labels.sum(axis=1) == 1).all()):
            raise DatasetError(
                f"{name}: expected one label for each image, or one-hot rows with a single 1, got shape {labels.shape} "
                "with other rows; choose one class for each image, such as labels.argmax(axis=1)"
            )
        labels, width = labels.argmax(axis=1), labels.shape[1]
    if labels.ndim != 1:
        raise DatasetError(f"{name}: expected shape (N,), got {labels.shape}; give each image one label")
    if len(labels) != count:
        raise DatasetError(f"{name}: expected as many labels as images, {count}, got {len(labels)}; check the pairs")
    if labels.dtype.kind == "f":
        if not (whole := np.isfinite(labels) & (labels == np.round(labels))).all():
            raise DatasetError(
                f"{name}: expected whole numbers or texts, got {labels[~whole][0]}; give each class a whole number"
            )
        labels = labels.astype("int64")
    if labels.dtype.kind == "U" and (labels == "").any():
        raise DatasetError(
            f"{name}: expected a label for each image, got an empty text for image {int(np.argmax(labels == ''))}; "
            "give it a label or remove the image"
        )
    return labels, width


def _known_kind(labels, name):
    """Return labels as an array of numbers or texts."""
    try:
        labels = np.asarray(labels)
        if labels.dtype.kind == "O" and len({type(label) for label in labels.ravel()}) == 1:
            labels = np.array(labels.tolist())  # such as texts from a table
        if labels.dtype.kind == "S":
            labels = np.char.decode(labels, "utf-8")
    except ValueError:  # rows of different lengths, or bytes that are no text
        labels = np.array(None)
    if labels.dtype.kind not in "biufU":
        raise DatasetError(
            f"{name}: expected whole numbers or texts, one for each image, got dtype {labels.dtype}; convert them"
        )
    return labels


def cut(
    count: int,
    labels: np.ndarray | None,
    shares: Mapping[str, float],
    seed: int,
    class_names: Sequence[str] = (),
    name: str = "images",
) -> dict[str, np.ndarray]:
    """Draw the rows of each split, in the same proportion from each class.

    Args:
        count: Number of images.
        labels: Shape (N,), whole numbers from 0; None for images without labels.
        shares: {split: share of the images} for all but the training split.
        seed: Seed of the draw.
        class_names: Names of the classes for messages.
        name: Name of the images for messages.

    Returns:
        {split: sorted rows}, with "train" for the rest. Each class with enough images is in each split.

    Raises:
        DatasetError: There are too few images for a split.
    """
    groups = [np.arange(count)]
    if labels is not None:
        groups = np.split(np.argsort(labels, kind="stable"), np.cumsum(np.bincount(labels))[:-1])
    rng, rows = np.random.default_rng(seed), {split: [] for split in ("train", *shares)}
    wanted = [split for split, share in shares.items() if share]
    for group in groups:
        order, left = rng.permutation(group), len(group)
        for split in wanted:
            taken = min(max(1, round(shares[split] * len(group))), left - 1) if left else 0
            rows[split].append(order[left - taken : left])
            left -= taken
        rows["train"].append(order[:left])
        if len(group) == 2:  # each split gets its turn
            wanted.reverse()
    rows = {split: np.sort(np.concatenate([np.empty(0, int), *parts])) for split, parts in rows.items()}
    if empty := [split for split, share in shares.items() if share and not len(rows[split])]:
        raise DatasetError(
            f"{name}: expected more than {len(shares)} images of a class, to cut a {empty[0]} split, got {count} "
            f"images of {len(groups)} classes; give {empty[0]}_share=0, or images for that split"
        )
    if few := [
        class_names[each]
        for each, group in enumerate(groups)
        if labels is not None and 0 < len(group) <= sum(map(bool, shares.values()))
    ]:
        warnings.warn(f"{name}: too few images for each split, of the classes {', '.join(few):.200}", stacklevel=2)
    return rows
