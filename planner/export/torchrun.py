"""torchrun: data-parallel training with the Trainer, torchtitan and Megatron-LM.

Flags: docs.pytorch.org (torchrun); run_train.sh of torchtitan; arguments.py of Megatron-LM, as of 2026.
"""

from __future__ import annotations

from collections.abc import Callable

from planner.export import training
from planner.export.training import local_gpus
from planner.export.transformers import train_needs
from planner.export.types import HEAD, RANK, CannotExportError, Launch, Run

MASTER_PORT = 29500
MODULE, CONFIG = '"$MODULE"', '"$CONFIG"'
DATA_PATH, MODEL_ARGS = '"$DATA_PATH"', "$MODEL_ARGS"
SHELL_WORDS = (f'"${RANK}"', f'"${HEAD}"', MODULE, CONFIG, DATA_PATH, MODEL_ARGS)


def rendezvous(run: Run) -> list[str]:
    """Words that make the processes of one replica find each other."""
    words = ["torchrun", "--nnodes", str(run.nodes), "--nproc-per-node", str(local_gpus(run))]
    if run.nodes == 1:
        return [*words, "--standalone"]
    return [*words, "--node-rank", f'"${RANK}"', "--master-addr", f'"${HEAD}"', "--master-port", str(MASTER_PORT)]


def launch(run: Run) -> Launch:
    """`torchrun` of one node of one replica. Raises CannotExportError."""
    if run.mode == "train" and run.engine in ENGINES:
        return ENGINES[run.engine](run)
    training.check(run, "torchrun")
    if run.text("sharding") not in ("", "none"):
        raise CannotExportError(f"the plan shards ({run.text('sharding')}); use --to accelerate or deepspeed")
    if run.away("optimizer_cpu") or run.away("params_cpu"):
        raise CannotExportError("the plan keeps training state in host memory; use --to deepspeed")
    name = f"{run.slug}.py"
    return Launch(
        words=(*rendezvous(run), name),
        shell_words=SHELL_WORDS,
        files={name: training.train_script(run)},
        notes=("Flags of torchrun, PyTorch 2.9", training.FLAGS_OF),
        needs=train_needs(run),
        image=training.IMAGE,
        is_image_ready=False,
        setup=f"pip install {training.PACKAGES}",
    )


def torchtitan(run: Run) -> Launch:
    """torchtitan: a config of the user's for the model, every choice of the plan on top. Raises CannotExportError."""
    if run.text("method") != "full" or run.text("optimizer") != "adamw":
        raise CannotExportError("torchtitan is planned here for full training with adamw")
    if run.text("precision") not in ("bf16-mixed", "bf16", "fp32"):
        raise CannotExportError(f"torchtitan's export knows bf16-mixed, bf16 and fp32, not {run.text('precision')}")
    if run.away("params_cpu") != run.away("optimizer_cpu") or run.away("params_cpu") not in (0.0, 1.0):
        raise CannotExportError("torchtitan keeps all of parameters and optimizer in host memory or nothing")
    sharded = run.text("sharding") in ("zero2", "zero3")
    if run.text("sharding") == "zero1":
        raise CannotExportError("torchtitan shards gradients too (FSDP), so zero1 is not its; plan zero2 or zero3")
    if run.text("precision") == "bf16-mixed" and not sharded and run.gpus > run.degree("data_parallel"):
        raise CannotExportError(
            "torchtitan computes in bf16-mixed with FSDP, or with data parallelism alone, "
            "and the plan splits the model unsharded; plan it with sharding: zero3, precision: bf16, or megatron"
        )
    data = run.degree("data_parallel")
    count = training.steps(run)
    sizes = {
        "parallelism.data_parallel_replicate_degree": 1 if sharded else data,
        "parallelism.data_parallel_shard_degree": data if sharded else 1,
        "parallelism.tensor_parallel_degree": run.degree("tensor_parallel"),
        "parallelism.pipeline_parallel_degree": run.degree("pipeline_parallel"),
        "parallelism.context_parallel_degree": run.degree("context_parallel"),
        "parallelism.expert_parallel_degree": run.degree("expert_parallel"),
        "training.seq_len": run.number("sequence_tokens"),
        "training.global_batch_size": run.number("batch"),
        "training.dtype": "bfloat16" if run.text("precision") == "bf16" else "float32",
        "training.mixed_precision_param": "float32" if run.text("precision") == "fp32" else "bfloat16",
        "activation_checkpoint.mode": run.text("checkpointing") or "none",
    }
    if sharded:
        sizes["parallelism.fsdp_reshard_after_forward"] = "always" if run.text("sharding") == "zero3" else "never"
    if run.degree("pipeline_parallel") > 1:
        # a rank's batch is cut into micro-batches by the schedule
        sizes["training.local_batch_size"] = run.number("batch") // data
        sizes["parallelism.pipeline_parallel_microbatch_size"] = run.number("micro_batch")
        sizes["parallelism.pipeline_parallel_schedule"] = "1F1B"
    else:
        sizes["training.local_batch_size"] = run.number("micro_batch")
    if count is not None:
        sizes["training.steps"] = count
    words = [*rendezvous(run), "-m", "torchtitan.train", "--module", MODULE, "--config", CONFIG]
    words += [w for key, value in sizes.items() for w in (f"--{key}", str(value))]
    words += ["--training.enable_cpu_offload"] if run.away("params_cpu") else []
    return Launch(
        words=tuple(words),
        shell_words=SHELL_WORDS,
        environment={"PYTORCH_ALLOC_CONF": "expandable_segments:True"},
        notes=("Flags of torchtitan's main branch, 2026; run it in a checkout",),
        needs=(
            f"MODULE: torchtitan module of {run.model}, for example llama3",
            f"CONFIG: torchtitan config of {run.model}, for example llama3_8b",
        ),
        image=training.IMAGE,
        is_image_ready=False,
        setup="pip install torchtitan",
    )


def megatron(run: Run) -> Launch:
    """Megatron-LM's pretrain_gpt.py. Raises CannotExportError."""
    if run.text("method") != "full" or run.text("optimizer") != "adamw":
        raise CannotExportError("Megatron-LM is planned here for full training with adamw")
    kinds = {"bf16-mixed": ["--bf16"], "fp16-mixed": ["--fp16"], "fp32": []}
    if run.text("precision") not in kinds:
        raise CannotExportError(f"Megatron's export knows {', '.join(kinds)}, not {run.text('precision')}")
    if run.text("sharding") not in ("", "none", "zero1"):
        raise CannotExportError(f"Megatron's distributed optimizer is zero1; the plan has {run.text('sharding')}")
    if run.away("optimizer_cpu") or run.away("params_cpu"):
        raise CannotExportError("the plan keeps training state in host memory, which this export does not set up")
    words = [*rendezvous(run), "pretrain_gpt.py"]
    for flag, value in (
        ("--tensor-model-parallel-size", run.degree("tensor_parallel")),
        ("--pipeline-model-parallel-size", run.degree("pipeline_parallel")),
        ("--context-parallel-size", run.degree("context_parallel")),
        ("--expert-model-parallel-size", run.degree("expert_parallel")),
        ("--micro-batch-size", run.number("micro_batch")),
        ("--global-batch-size", run.number("batch")),
        ("--seq-length", run.number("sequence_tokens")),
    ):
        words += [flag, str(value)]
    words += kinds[run.text("precision")]
    if run.options.get("sequence_parallel") and run.degree("tensor_parallel") > 1:
        words.append("--sequence-parallel")
    words += ["--use-distributed-optimizer"] if run.text("sharding") == "zero1" else []
    words += {
        "full": ["--recompute-granularity", "full", "--recompute-method", "uniform", "--recompute-num-layers", "1"],
        "selective": ["--recompute-granularity", "selective"],
    }.get(run.text("checkpointing"), [])
    words += ["--attention-backend", "flash"] if run.text("attention") == "flash" else []
    count = training.steps(run)
    words += ["--train-iters", str(count)] if count is not None else []
    return Launch(
        words=(*words, "--data-path", DATA_PATH, MODEL_ARGS),
        shell_words=SHELL_WORDS,
        environment={"CUDA_DEVICE_MAX_CONNECTIONS": "1"},
        notes=("Flags of Megatron-LM core 0.14 and later; run it in a checkout",),
        needs=(
            f"MODEL_ARGS: layers, sizes, tokenizer and checkpoint of {run.model} as Megatron flags",
            "DATA_PATH: prefix of the indexed data set",
        ),
        image="nvcr.io/nvidia/nemo:25.09",
        setup="pip install megatron-core",
    )


ENGINES: dict[str, Callable[[Run], Launch]] = {"torchtitan": torchtitan, "megatron": megatron}
