"""IPC handles on their way through vLLM's messages, as those are when pickle is refused."""

import inspect

import pytest
import torch
from torch.multiprocessing.reductions import rebuild_cuda_tensor
from vllm.v1.serial_utils import MsgpackDecoder, MsgpackEncoder

from keomni_rl.engines.ipc_handles import plain_handles, whole_handles

ARGUMENTS = {
    "tensor_cls": torch.Tensor,
    "tensor_size": torch.Size([4096]),
    "tensor_stride": (1,),
    "tensor_offset": 0,
    "storage_cls": torch.storage.TypedStorage,
    "dtype": torch.uint8,
    "storage_device": 0,
    "storage_handle": b"\x00handle\xff",
    "storage_size_bytes": 4096,
    "storage_offset_bytes": 512,
    "requires_grad": False,
    "ref_counter_handle": b"\x01counter",
    "ref_counter_offset": 3,
    "event_handle": b"\x02event",
    "event_sync_required": True,
}


@pytest.fixture(autouse=True)
def pickle_refused(monkeypatch):
    monkeypatch.setenv("VLLM_ALLOW_INSECURE_SERIALIZATION", "0")


@pytest.fixture
def handles():
    assert list(ARGUMENTS) == list(inspect.signature(rebuild_cuda_tensor).parameters)
    return {"GPU-1": tuple(ARGUMENTS.values())}


def test_vllm_refuses_them_as_they_are(handles):
    with pytest.raises(TypeError, match="not serializable"):
        MsgpackEncoder().encode(handles)


def test_they_come_through_whole_as_plain_data(handles):
    received = MsgpackDecoder().decode(MsgpackEncoder().encode(plain_handles(handles)))
    assert whole_handles(received) == handles


def test_a_handle_of_anything_but_bytes_is_refused(handles):
    [arguments] = handles.values()
    floats = [torch.float32 if value is torch.uint8 else value for value in arguments]
    with pytest.raises(ValueError, match=r"of torch\.float32, wanted one of torch\.uint8"):
        plain_handles({"GPU-1": floats})
