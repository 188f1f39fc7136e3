from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import ResumeError
from pipeline.study.settings import Settings
from pipeline.study.variants import find_variant
from pipeline.training import checkpoint as room
from pipeline.training.checkpoint import (
    Checkpoint,
    Checkpoints,
    decode_checkpoint,
    encode_checkpoint,
    find_checkpoints,
    hold_checkpoints,
    load_newest,
    read_checkpoint,
)
from pipeline.training.fingerprint import identify_training
from pipeline.training.observer import Epoch
from tests.conftest import run_python

REG = find_variant("conv2_3x3_reg")
CONFIG = identify_training(REG, Settings(), "5" * 64)
ARRAYS = {"kernel": np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4), "iteration": np.array(7, np.int64)}
WRITE = """
import itertools, os
from pathlib import Path
from tests.training.test_checkpoint import save_epochs
for number in itertools.count(1):
    folder = Path(str(number))
    folder.mkdir()
    save_epochs(folder, 1, 2)
    if not os.fork():
        os.environ["FAULT"] = f"any:{number}:kill"
        save_epochs(folder, 3, 3)
        os._exit(0)
    print(code := os.waitstatus_to_exitcode(os.wait()[1]), flush=True)
    if code == 0:
        break
"""


def make_epochs(count: int) -> list[Epoch]:
    return [
        Epoch({"train/loss": 0.1 / 3 * number, "time/epoch_seconds": 1.5}, 1700 + number) for number in range(count)
    ]


def save_epochs(folder: Path, first: int, last: int) -> None:
    checkpoints = Checkpoints(folder=folder, config=CONFIG, start=None, refused=[])
    for count in range(first, last + 1):
        checkpoints.save(make_epochs(count), {**ARRAYS, "epoch": np.array(count)})


def assert_same(one: Checkpoint, two: Checkpoint, *, seconds: bool = True) -> None:
    assert list(one.arrays) == list(two.arrays)
    for name, values in one.arrays.items():
        other = two.arrays[name]
        assert (values.dtype, values.shape, values.tobytes()) == (other.dtype, other.shape, other.tobytes())
    assert one.config == two.config
    assert read_metrics(one, seconds) == read_metrics(two, seconds)


def read_metrics(checkpoint: Checkpoint, seconds: bool) -> list[dict[str, float]]:
    return [
        {name: value for name, value in epoch.metrics.items() if seconds or not name.startswith("time/")}
        for epoch in checkpoint.epochs
    ]


def test_what_was_written_is_read_to_the_bit(tmp_path: Path) -> None:
    save_epochs(tmp_path, 1, 4)
    assert [path.name for path in find_checkpoints(tmp_path)] == ["epoch-00004.checkpoint", "epoch-00003.checkpoint"]
    found, refused = load_newest(tmp_path, CONFIG)
    assert (found.name, refused) == ("epoch-00004.checkpoint", [])
    assert_same(found, Checkpoint(config=CONFIG, epochs=make_epochs(4), arrays={**ARRAYS, "epoch": np.array(4)}))
    assert found.epochs == make_epochs(4)


def test_every_flipped_byte_and_every_length_is_refused() -> None:
    content = encode_checkpoint(Checkpoint(config=CONFIG, epochs=make_epochs(2), arrays=ARRAYS))
    for place in range(0, len(content), 7):
        flipped = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
        for broken in (flipped, content[:place]):
            with pytest.raises(ResumeError, match=r"is damaged|is not a checkpoint of this program"):
                decode_checkpoint(broken)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"epochs": "4"}, "epochs 25, here 4"),
        ({"name": "conv2_3x3"}, "name conv2_3x3_reg, here conv2_3x3"),
        ({"data sha256": "6"}, f"data sha256 {'5' * 64}, here 6"),
        ({"keras": "3.99.0", "new": "x"}, f"keras {CONFIG['keras']}, here 3.99.0, new unknown, here x"),
    ],
)
def test_a_checkpoint_of_another_training_is_refused_by_name(
    tmp_path: Path, changed: dict[str, str], reason: str
) -> None:
    save_epochs(tmp_path, 1, 1)
    with pytest.raises(ResumeError) as refusal:
        read_checkpoint(tmp_path / "epoch-00001.checkpoint", {**CONFIG, **changed})
    assert str(refusal.value) == f"epoch-00001.checkpoint is of another training: {reason}"


def test_only_what_shapes_the_weights_is_compared() -> None:
    moved = identify_training(replace(REG, note="better told", twin=None), Settings(data="elsewhere"), "5" * 64)
    assert moved == CONFIG
    assert identify_training(REG, Settings(threads=1), "5" * 64) != CONFIG


def test_a_newer_format_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "FORMAT", 2)
    save_epochs(tmp_path, 1, 1)
    monkeypatch.undo()
    with pytest.raises(ResumeError, match=r"^epoch-00001.checkpoint has format 2, and this version reads format 1$"):
        read_checkpoint(tmp_path / "epoch-00001.checkpoint", CONFIG)


def test_the_previous_is_used_and_the_newest_refused_by_name(tmp_path: Path) -> None:
    save_epochs(tmp_path, 1, 3)
    newest, previous = find_checkpoints(tmp_path)
    newest.write_bytes(newest.read_bytes()[:-1])
    found, refused = load_newest(tmp_path, CONFIG)
    assert found.name == previous.name
    assert refused == ["epoch-00003.checkpoint is damaged: its sha256 is not that of its content"]
    previous.write_bytes(b"")
    with pytest.raises(ResumeError, match=r"no usable checkpoint: epoch-00003.* damaged.*; epoch-00002.* is not a ch"):
        load_newest(tmp_path, CONFIG)


def test_a_kill_at_any_step_of_the_write_leaves_the_old_or_the_new(tmp_path: Path) -> None:
    done = run_python(tmp_path, "-c", WRITE)
    assert done.stdout.split() == ["-9"] * 7 + ["0"], done.stderr
    newest = []
    for number in range(1, 9):
        folder = tmp_path / str(number)
        found, refused = load_newest(folder, CONFIG)
        assert refused == []
        count = len(found.epochs)
        expected = {**ARRAYS, "epoch": np.array(count)}
        assert_same(found, Checkpoint(config=CONFIG, epochs=make_epochs(count), arrays=expected))
        newest.append(found.name[:11])
        save_epochs(folder, 3, 4)
        assert sorted(path.name for path in folder.iterdir()) == ["epoch-00003.checkpoint", "epoch-00004.checkpoint"]
    assert newest == [*["epoch-00002"] * 4, *["epoch-00003"] * 4]


def test_two_processes_never_hold_one_run(tmp_path: Path) -> None:
    with (
        hold_checkpoints(tmp_path / "run", CONFIG) as held,
        pytest.raises(ResumeError, match="another process trains run run at this moment"),
        hold_checkpoints(tmp_path / "run", CONFIG),
    ):
        pytest.fail("held twice")
    assert held.start is None
    with hold_checkpoints(tmp_path / "run", CONFIG):
        pass


def test_the_state_of_another_network_is_refused() -> None:
    from pipeline.training.network import build_network, collect_state, hash_weights, restore_state

    network, again = build_network(REG, seed=0), build_network(REG, seed=1)  # Keras counts its own names on
    again.optimizer.build(again.trainable_variables)
    state = collect_state(again)
    restore_state(network, state)
    assert hash_weights(network) == hash_weights(again)
    dropped = {name: values for name, values in state.items() if "velocity" not in name}
    for other in (dropped, {**state, "extra": ARRAYS["kernel"]}):
        with pytest.raises(ResumeError, match=r"does not fit conv2_3x3_reg: .* differ"):
            restore_state(network, other)
    name = next(iter(state))
    for values in (state[name].astype(np.float64), state[name].T):
        with pytest.raises(ResumeError, match=f"does not fit conv2_3x3_reg: {name} differ"):
            restore_state(network, {**state, name: values})
