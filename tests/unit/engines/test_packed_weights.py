"""Shared memory between processes, and tensors in it."""

import subprocess
import sys

import pytest
import torch
from vllm.distributed.weight_transfer.base import ParamMeta

from keomni_rl.engines.packed_weights import Packed, unpack
from keomni_rl.engines.shared_buffer import SharedBuffer, open_shared, place

TENSORS = [
    ("a", torch.arange(6.0).view(2, 3)),
    ("b", torch.tensor([1.5, -2.0, 3.0], dtype=torch.bfloat16)),
    ("c", torch.tensor(7.0)),
]


def packed(tensors=TENSORS):
    metas = [ParamMeta(name, tensor.dtype, tuple(tensor.shape)) for name, tensor in tensors]
    return Packed.room_for(metas, is_frozen=False)


def test_what_was_packed_comes_out_under_its_name():
    room = packed()
    room.fill(TENSORS)
    received = list(unpack(room.describe() | {"path": room.buffer.path}))
    assert [name for name, _ in received] == ["a", "b", "c"]
    for (_, sent), (_, got) in zip(TENSORS, received):
        assert got.dtype == sent.dtype
        assert torch.equal(got, sent)


@pytest.mark.parametrize(
    "other",
    [
        ("x", TENSORS[0][1]),
        ("a", TENSORS[0][1].double()),
        ("a", TENSORS[0][1].view(3, 2)),
    ],
)
def test_a_source_that_yields_something_else_is_refused(other):
    with pytest.raises(ValueError, match=r"had declared a torch.float32 \[2, 3\]"):
        packed().fill([other, *TENSORS[1:]])


def test_a_source_that_yields_too_little_is_refused():
    with pytest.raises(ValueError, match="shorter"):
        packed().fill(TENSORS[:2])


def test_another_process_reads_it_and_changes_nothing():
    buffer = SharedBuffer(4)
    buffer.bytes.fill_(5)
    program = (
        "from keomni_rl.engines.shared_buffer import open_shared, place\n"
        f"found = open_shared({buffer.path!r})\n"
        "print(found.tolist(), place())\n"
        "found.fill_(9)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == f"[5, 5, 5, 5] {place()}", done.stderr
    assert buffer.bytes.tolist() == [5] * 4


def test_memory_ends_with_its_owner():
    buffer = SharedBuffer(4)
    path = buffer.path
    del buffer
    with pytest.raises(FileNotFoundError):
        open_shared(path)
