"""Shared memory between processes, and tensors in it."""

import signal
import subprocess
import sys

import pytest
import torch
from vllm.distributed.weight_transfer.base import ParamMeta

from keomni_rl.engines.packed_weights import Packed, Unpacker
from keomni_rl.engines.shared_buffer import OpenBuffers, SharedBuffer, place

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
    received = list(Unpacker().unpack([room.describe() | {"path": room.buffer.path}]))
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


def test_another_process_reads_it_sees_what_is_written_next_and_changes_nothing():
    buffer = SharedBuffer(4)
    buffer.bytes.fill_(5)
    program = (
        "from keomni_rl.engines.shared_buffer import OpenBuffers, place\n"
        "buffers = OpenBuffers()\n"
        f"[found] = buffers.open([{buffer.path!r}])\n"
        "print(found.tolist(), place(), flush=True)\n"
        "input()\n"
        f"[again] = buffers.open([{buffer.path!r}])\n"
        "print(again.tolist(), again is found, flush=True)\n"
        "again.fill_(9)\n"
    )
    reader = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert reader.stdout.readline().strip() == f"[5, 5, 5, 5] {place()}"
    buffer.bytes.fill_(6)
    assert reader.communicate("\n")[0].strip() == "[6, 6, 6, 6] True"
    assert reader.returncode == -signal.SIGSEGV  # it may not write
    assert buffer.bytes.tolist() == [6] * 4


def test_buffers_that_are_not_asked_for_again_are_let_go():
    first, second = SharedBuffer(4), SharedBuffer(4)
    buffers = OpenBuffers()
    [found] = buffers.open([first.path])
    assert buffers.open([first.path, second.path])[0] is found
    buffers.open([second.path])
    assert buffers.open([first.path])[0] is not found


def test_another_buffer_under_the_same_path_is_another():
    buffers = OpenBuffers()
    buffer = SharedBuffer(4)
    path = buffer.path
    buffers.open([path])
    del buffer
    buffer = SharedBuffer(4)
    buffer.bytes.fill_(7)
    assert buffer.path == path  # the descriptor is free again
    assert buffers.open([path])[0].tolist() == [7] * 4


def test_memory_ends_with_its_owner():
    buffer = SharedBuffer(4)
    path = buffer.path
    del buffer
    with pytest.raises(FileNotFoundError):
        OpenBuffers().open([path])
