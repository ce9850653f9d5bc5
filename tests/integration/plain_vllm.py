"""Plain vLLM, without anything of ours: greedy answers to prompts with a clip each.

Reads a JSON object from standard input: ``model``, ``forbidden`` (token ids), ``max_tokens`` and
``requests`` of ``text`` and ``samples`` (a .npy file). The last line of its output is a list of
the answers' token ids.
"""

import json
import os
import sys

if __name__ == "__main__":
    os.environ |= {
        "VLLM_PLUGINS": "",
        "VLLM_LOGGING_LEVEL": "ERROR",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_NO_USAGE_STATS": "1",
    }
    import numpy as np
    from vllm import LLM, SamplingParams

    asked = json.load(sys.stdin)
    llm = LLM(
        asked["model"],
        dtype="float32",
        enforce_eager=True,
        max_model_len=1024,
        limit_mm_per_prompt={"audio": 1, "image": 0, "video": 0},
    )
    answers = llm.generate(
        [
            {
                "prompt": request["text"],
                "multi_modal_data": {"audio": [(np.load(request["samples"]), 16_000)]},
            }
            for request in asked["requests"]
        ],
        SamplingParams(
            temperature=0,
            max_tokens=asked["max_tokens"],
            logit_bias=dict.fromkeys(asked["forbidden"], -100.0),
        ),
        use_tqdm=False,
    )
    ids = [list(answer.outputs[0].token_ids) for answer in answers]
    sys.stdout.write("\n" + json.dumps(ids) + "\n")
