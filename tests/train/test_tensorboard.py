import pytest

from dst_jax.train import TensorBoard


def test_events_are_those_that_were_written(tmp_path):
    pytest.importorskip("tensorboardX")
    from tensorboardX.proto.event_pb2 import Event

    events = TensorBoard(str(tmp_path / "tb"))
    events.scalars("pretrain/train", {"loss": 0.5, "note": "no number"}, step=8)
    events.close()
    (path,) = (tmp_path / "tb").iterdir()
    content, found = path.read_bytes(), []
    while content:  # length, checksum, event, checksum
        size = int.from_bytes(content[:8], "little")
        found.append(Event.FromString(content[12 : 12 + size]))
        content = content[12 + size + 4 :]
    assert found[0].file_version == "brain.Event:2"
    (value,) = found[1].summary.value
    assert (found[1].step, value.tag, value.simple_value) == (
        8,
        "pretrain/train/loss",
        0.5,
    )


def test_a_full_disk_is_an_error_and_not_a_wait(tmp_path, monkeypatch):
    pytest.importorskip("tensorboardX")
    from tensorboardX.record_writer import RecordWriter

    def full(self, data):
        raise OSError(28, "No space left on device")

    events = TensorBoard(str(tmp_path))
    monkeypatch.setattr(RecordWriter, "write", full)
    with pytest.raises(OSError, match=r"No space left on device: .*tfevents"):
        events.scalars("train", {"loss": 0.5}, 8)
    events.close()
