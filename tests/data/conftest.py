"""Small data sets in TFDS's layout, written without TensorFlow."""

import io
import json

import numpy as np
import pytest
import tensorflow_datasets as tfds
from array_record.python.array_record_module import ArrayRecordWriter
from PIL import Image


def encode(image, kind="PNG"):
    """The bytes of an image file: uint8[h, w, 1 or 3]."""
    file = io.BytesIO()
    pixels = image[:, :, 0] if image.shape[2] == 1 else image
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


class SetWriter:
    """Writes data sets below one folder; every split is a list of records.

    A record is a dict of features, or bytes that are written as they are.
    """

    encode = staticmethod(encode)

    def __init__(self, root):
        self.root = root

    def __call__(self, name, splits, *, shape, classes=10, version="1.0.0", **extra):
        folder = self.root / name / version
        folder.mkdir(parents=True)
        image = tfds.features.Image(shape=shape)
        label = tfds.features.ClassLabel(num_classes=classes)
        features = {"image": image, "label": label, **extra}
        tfds.features.FeaturesDict(features).save_config(folder)
        # Written as a plain number, so that a label may be out of range.
        number = tfds.features.Scalar(np.int64)
        features = tfds.features.FeaturesDict({**features, "label": number})
        for split, records in splits.items():
            self._write(folder, name.split("/")[0], split, features, records)
        self.write_info(folder, name, splits)
        return folder

    def write_info(self, folder, name, splits, file_format="array_record"):
        info = {
            "name": name.split("/")[0],
            "version": folder.name,
            "fileFormat": file_format,
            "splits": [
                {
                    "name": split,
                    "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
                    "shardLengths": [str(len(records))],
                    "numBytes": "0",
                }
                for split, records in splits.items()
            ],
        }
        (folder / "dataset_info.json").write_text(json.dumps(info))

    def _write(self, folder, name, split, features, records):
        path = folder / f"{name}-{split}.array_record-00000-of-00001"
        writer = ArrayRecordWriter(str(path), "group_size:1")
        for record in records:
            raw = isinstance(record, bytes)
            writer.write(record if raw else features.serialize_example(record))
        writer.close()

    def segmented(self, name, splits, *, image="image", label="label"):
        """A set of label maps: every record a pair of encoded image and map."""
        folder = self.root / name / "1.0.0"
        folder.mkdir(parents=True)
        features = tfds.features.FeaturesDict(
            {
                image: tfds.features.Image(shape=(None, None, 3)),
                label: tfds.features.Image(shape=(None, None, 1)),
            }
        )
        features.save_config(folder)
        for split, pairs in splits.items():
            records = [{image: x, label: y} for x, y in pairs]
            self._write(folder, name.split("/")[0], split, features, records)
        self.write_info(folder, name, splits)
        return folder

    def mnist(self, n_train=40, n_test=10, damage=(), **options):
        """Images filled with i; `damage` is to the training split."""

        def records(n):
            return [
                {
                    "image": encode(np.full((28, 28, 1), i % 256, np.uint8)),
                    "label": i % 10,
                }
                for i in range(n)
            ]

        splits = {"train": _damaged(records(n_train), damage), "test": records(n_test)}
        return self("mnist", splits, shape=(28, 28, 1), **options)

    def imagenette(self, n_train=12, n_test=6, damage=(), **extra):
        """Photographs of several sizes; `damage` is to the training split."""

        def records(n):
            return [
                {
                    "image": encode(
                        np.full((40 + i, 60 - i, 3), 10 * i, np.uint8), "JPEG"
                    ),
                    "label": i % 10,
                    **{field: f"{field}-{i}" for field in extra},
                }
                for i in range(n)
            ]

        train = _damaged(records(n_train), damage)
        splits = {"train": train, "validation": records(n_test)}
        return self("imagenette/160px-v2", splits, shape=(None, None, 3), **extra)


def _damaged(records, damage):
    """`damage`: by index, bytes instead of the record, or changes to its features."""
    damage = dict(damage)
    changes = [damage.get(i, {}) for i in range(len(records))]
    return [
        change if isinstance(change, bytes) else {**record, **change}
        for record, change in zip(records, changes, strict=True)
    ]


@pytest.fixture
def sets(tmp_path, monkeypatch):
    """Writes data sets where `load` looks for them by default."""
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    return SetWriter(tmp_path)
