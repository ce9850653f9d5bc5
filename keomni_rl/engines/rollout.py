"""vLLM as the sampler: one AsyncLLM engine that answers audio prompts and takes new weights.

The same engine serves rollouts (groups with log-probabilities), evaluation and single questions.
It starts without weights when a learner will send them.
"""

import os
import tempfile
import time
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from keomni_rl.engines.ipc_handles import plain_handles
from keomni_rl.engines.lifeline import hold_lifeline
from keomni_rl.engines.shared_buffer import SharedBuffer, place
from keomni_rl.engines.specs import EngineSpec, Sampling
from keomni_rl.errors import EngineError
from keomni_rl.models.audio_prompt import end_ids
from keomni_rl.models.family import find_family
from keomni_rl.models.hub import local_model
from keomni_rl.types import Clip, Completion, FinishReason, Group, GroupKey, Prompt

NEVER = -100.0
"""vLLM's strongest logit bias; keeps the policy from sampling multimodal placeholders."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer in evaluation or inference."""

    text: str
    finish_reason: FinishReason
    num_tokens: int
    policy_version: int


@dataclass(frozen=True, slots=True)
class Part:
    """One answer as far as it has come."""

    text: str
    num_tokens: int
    finish_reason: FinishReason | None
    """None while it goes on."""


class RolloutEngine:
    """One AsyncLLM and the model's processor."""

    def __init__(self, spec: EngineSpec) -> None:
        # vLLM reads these when it is imported.
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
        os.environ["VLLM_NO_USAGE_STATS"] = "1"
        os.environ["VLLM_ALLOW_INSECURE_SERIALIZATION"] = "0"
        hold_lifeline()
        if spec.tensor_parallel == 0:
            os.environ["VLLM_CPU_KVCACHE_SPACE"] = str(max(1, round(spec.kv_cache_gib)))
            os.environ["VLLM_CPU_OMP_THREADS_BIND"] = "nobind"
            os.environ["OMP_NUM_THREADS"] = str(spec.num_threads)
        from vllm.config.weight_transfer import WeightTransferConfig
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.v1.engine.async_llm import AsyncLLM

        from keomni_rl.engines.cpu_weight_transfer import receiver_name
        from keomni_rl.engines.model_loader import LOAD_FORMAT, write_served_folder
        from keomni_rl.engines.worker_extension import WORKER_EXTENSION

        model = local_model(spec.model, spec.revision)
        self._family = find_family(model)
        self._processor = self._family.load_processor(model)
        self._forbidden = self._family.forbidden_tokens(self._processor)
        self._ends = end_ids(model, self._processor)
        self._folder = tempfile.TemporaryDirectory(prefix="keomni_rl-engine-")
        self._staged: list[SharedBuffer] = []
        self._pause: Literal["keep", "wait"] = "keep" if spec.in_flight == "keep" else "wait"
        self._paused_s: float | None = None
        """When generation was stopped for an update, on the monotonic clock."""
        served = write_served_folder(Path(self._folder.name) / "model", model)
        on_cpu = spec.tensor_parallel == 0
        self._engine = AsyncLLM.from_engine_args(
            AsyncEngineArgs(
                model=str(served),
                load_format="dummy" if spec.awaits_weights else LOAD_FORMAT,
                dtype=spec.dtype,
                trust_remote_code=False,
                tensor_parallel_size=max(1, spec.tensor_parallel),
                distributed_executor_backend=_executor(spec),
                max_model_len=spec.max_model_len,
                max_num_seqs=spec.max_num_seqs,
                gpu_memory_utilization=spec.gpu_memory_utilization,
                enforce_eager=on_cpu,
                enable_sleep_mode=spec.takes_turns and not on_cpu,
                # On CPU a seeded request that is prefilled in parts kills the engine: its
                # generator cannot be wound back.
                enable_chunked_prefill=not on_cpu,
                max_num_batched_tokens=max(8192, spec.max_model_len) if on_cpu else None,
                limit_mm_per_prompt={"audio": 1, "image": 0, "video": 0},
                enable_mm_embeds=True,  # features in place of samples
                # The two halves of that cache can part under load, which ends the engine; a group
                # is one request, so nothing is prepared twice without it.
                mm_processor_cache_gb=0,
                enable_prefix_caching=True,
                # Only whole blocks of a prompt are shared by its completions; 128 is usual on CPU.
                block_size=32 if on_cpu else None,
                weight_transfer_config=WeightTransferConfig(backend=receiver_name(spec.backend)),
                worker_extension_cls=WORKER_EXTENSION,
                # Of the distribution really sampled from: after temperature and forbidden tokens.
                logprobs_mode="processed_logprobs",
                generation_config="vllm",
                disable_log_stats=True,
            )
        )

    async def generate(
        self, key: GroupKey, prompt: Prompt, clip: Clip, sampling: Sampling
    ) -> Group:
        """Sample the completions of one prompt, to train on.

        Raises:
            EngineError: the engine died, or gave back something that cannot be trained on.
        """
        forbidden = dict.fromkeys(self._forbidden, NEVER)
        final = await self._run(key, prompt, clip, sampling, logprobs=0, logit_bias=forbidden)
        return Group(
            key=key,
            prompt=prompt,
            prompt_ids=np.asarray(final.prompt_token_ids, np.int32),
            completions=tuple(self._completion(output) for output in final.outputs),
        )

    async def answer(
        self, key: GroupKey, prompt: Prompt, clip: Clip, sampling: Sampling
    ) -> list[Reply]:
        """Answer one prompt as plain vLLM would: what is said, and nothing to train on.

        Raises:
            EngineError: the engine died.
        """
        final = await self._run(key, prompt, clip, sampling)
        return [
            Reply(
                text=output.text,
                finish_reason=FinishReason(output.finish_reason),
                num_tokens=len(output.token_ids),
                policy_version=_versions(output)[0],
            )
            for output in final.outputs
        ]

    async def stream(
        self, key: GroupKey, prompt: Prompt, clip: Clip, sampling: Sampling
    ) -> AsyncGenerator[Part, None]:
        """Answer one prompt, and tell of it while it is said; who stops listening ends it.

        Raises:
            EngineError: the engine died.
        """
        outputs = self._outputs(key, prompt, clip, sampling, kind="CUMULATIVE")
        async with aclosing(outputs):
            async for output in outputs:
                (said,) = output.outputs
                reason = FinishReason(said.finish_reason) if said.finish_reason else None
                yield Part(said.text, len(said.token_ids), reason)

    async def _run(
        self, key: GroupKey, prompt: Prompt, clip: Clip, sampling: Sampling, **more: Any
    ) -> Any:
        final = None
        async for output in self._outputs(key, prompt, clip, sampling, kind="FINAL_ONLY", **more):
            final = output
        if final is None or not final.finished:
            raise EngineError(f"the vLLM engine ended without an answer to {prompt.id!r}")
        return final

    async def _outputs(
        self,
        key: GroupKey,
        prompt: Prompt,
        clip: Clip,
        sampling: Sampling,
        *,
        kind: Literal["FINAL_ONLY", "CUMULATIVE"],
        **more: Any,
    ) -> AsyncGenerator[Any, None]:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        params = SamplingParams(
            n=sampling.num_completions,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
            max_tokens=sampling.max_new_tokens,
            seed=sampling.seed if sampling.temperature else None,
            stop_token_ids=self._ends,
            output_kind=RequestOutputKind[kind],
            **more,
        )
        request = {
            "prompt": self._family.chat_text(self._processor, prompt.text),
            "multi_modal_data": {"audio": self._family.engine_audio(clip)},
        }
        with _dead_engine_told(f"answering {prompt.id!r}"):
            outputs = self._engine.generate(
                request, params, request_id=f"{key.run}-{key.index}-{key.attempt}"
            )
            async with aclosing(outputs):
                async for output in outputs:
                    yield output

    def _completion(self, output: Any) -> Completion:
        token_ids = np.asarray(output.token_ids, np.int32)
        if forbidden := sorted(set(token_ids.tolist()) & set(self._forbidden)):
            raise EngineError(f"the engine sampled placeholder tokens {forbidden}: {output.text!r}")
        chosen = zip(token_ids.tolist(), output.logprobs, strict=True)
        return Completion(
            token_ids=token_ids,
            rollout_logprobs=np.asarray([at[token].logprob for token, at in chosen], np.float32),
            text=output.text,
            finish_reason=FinishReason(output.finish_reason),
            policy_version=_versions(output),
        )

    async def compare_weight_names(self, sent: list[str]) -> tuple[list[str], list[str]]:
        """What the engine expects and would not get, and what it would get and not know."""
        with _dead_engine_told("comparing weight names"):
            first = (await self._engine.collective_rpc("compare_weight_names", args=(sent,)))[0]
        return first[0], first[1]

    async def init_weight_transfer(self, init_info: Mapping[str, Any]) -> str:
        """Meet the learner, as the backend does that; an earlier one is forgotten.

        Returns:
            The `place` whose shared memory can be opened here.
        """
        from vllm.distributed.weight_transfer.base import WeightTransferInitRequest

        request = WeightTransferInitRequest(init_info=dict(init_info))
        with _dead_engine_told("meeting the learner"):
            if self._paused_s is not None:  # the last one was lost in the middle of an update
                await self._engine.finish_weight_update()
            await self._engine.shutdown_weight_transfer_engine()
            await self._engine.init_weight_transfer_engine(request)
        return place()

    def stage_weights(self, *buffers: np.ndarray) -> list[str]:
        """Put packed weights where the engine's own process can map them; says where."""
        self._staged = [SharedBuffer.of(buffer) for buffer in buffers]
        return [buffer.path for buffer in self._staged]

    async def start_weight_update(self) -> None:
        """Freeze what is in flight, or let it end, and open an update."""
        with _dead_engine_told("opening an update"):
            self._paused_s = time.monotonic()
            await self._engine.pause_generation(mode=self._pause, clear_cache=False)
            await self._engine.start_weight_update()

    async def update_weights(self, update_info: Mapping[str, Any]) -> None:
        """Receive weights, as the backend does that."""
        from vllm.distributed.weight_transfer.base import WeightTransferUpdateRequest

        info = dict(update_info)
        with _dead_engine_told("taking weights"):
            if "ipc_handles" in info:
                info["ipc_handles"] = plain_handles(info["ipc_handles"])
                await self._engine.collective_rpc("update_weights_from_ipc", args=(info,))
            else:
                await self._engine.update_weights(WeightTransferUpdateRequest(update_info=info))

    async def finish_weight_update(self, version: int) -> float:
        """Label the new weights, forget everything computed under the old ones, go on.

        vLLM keeps audio embeddings by the clip's hash alone, so the encoder cache has to go too.

        Returns:
            Seconds that generation stood still for.
        """
        with _dead_engine_told("taking new weights into use"):
            await self._engine.finish_weight_update(weight_version=str(version))
            # Without preemption the cache stays while anything is running, under the old weights.
            await self._engine.reset_prefix_cache(reset_running_requests=True)
            await self._engine.reset_encoder_cache()
            await self._engine.resume_generation()
        assert self._paused_s is not None
        paused_s, self._paused_s = self._paused_s, None
        self._staged = []
        return time.monotonic() - paused_s

    async def sleep(self) -> None:
        """Let go of the GPU's memory once nothing is under way; the weights lie on the host.

        On CPU vLLM only stops taking up requests.
        """
        with _dead_engine_told("going to sleep"):
            await self._engine.sleep(level=1, mode="wait")

    async def wake(self, part: str) -> None:
        """Take back memory for the ``weights``, then for the ``kv_cache``, and go on."""
        with _dead_engine_told("waking up"):
            await self._engine.wake_up([part])

    async def check_health(self) -> None:
        """Raise EngineError when the engine's process is gone."""
        with _dead_engine_told("doing nothing"):
            await self._engine.check_health()

    def shutdown(self) -> None:
        """End the engine's process and remove its files."""
        self._engine.shutdown()
        # Its finalizer does it again, when the interpreter has lost what that takes.
        self._engine.shutdown = lambda: None
        self._folder.cleanup()


def _executor(spec: EngineSpec) -> Any:
    """How the engine runs the model: in its own process where it is one.

    On CPU vLLM turns ``uni`` into ``mp``, for binding threads to cores, which we do not; there one
    process spins on a core for as long as the other computes, and that one for a second more.
    """
    from vllm.v1.executor.uniproc_executor import UniProcExecutor

    return "mp" if spec.tensor_parallel > 1 else UniProcExecutor


@contextmanager
def _dead_engine_told(doing: str) -> Iterator[None]:
    """VLLM's error of a dead engine becomes ours.

    Raises:
        EngineError: the engine's process is gone.
    """
    from vllm.v1.engine.exceptions import EngineDeadError

    try:
        yield
    except EngineDeadError as error:
        raise EngineError(f"the vLLM engine died while {doing}") from error


def _versions(output: Any) -> tuple[int, int]:
    """Oldest and newest weights that an output's tokens were sampled under."""
    versions = [_version(span.version) for span in output.weight_versions or ()] or [0]
    return min(versions), max(versions)


def _version(label: str) -> int:
    """A weight version as a number: vLLM calls the weights that it was started with by a word."""
    return int(label) if label.isdigit() else 0
