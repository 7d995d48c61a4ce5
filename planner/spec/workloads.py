"""What is to run: inference and training workloads, what is asked of them, and what the user has decided."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, Tag, model_validator

from planner.spec.base import (
    AnyPrecision,
    Attention,
    Auto,
    CheckpointingChoice,
    Config,
    Count,
    EngineRef,
    InferPrecision,
    KvChoice,
    Method,
    Mode,
    Name,
    Optimizer,
    ShardingChoice,
    Share,
    SpecModel,
    Text,
    Tokens,
    TrainPrecision,
    as_list,
    by_kind,
    fold_case,
    refuse,
)
from planner.spec.day import Hours, day_share
from planner.spec.parts import (
    Audio,
    Image,
    Images,
    InferTargets,
    Lora,
    OffloadPlaces,
    Sequence,
    Traffic,
    TrainBatch,
    TrainTargets,
    global_batch,
    split_context,
)
from planner.spec.pin import Pin
from planner.spec.rules import infer_problems, lora_problems, mix_problems, train_problems


def default_name(model: object, mode: object) -> str:
    """Name of a workload that has none: the end of the model's name, and the mode.

    >>> default_name("meta-llama/Llama-3.1-8B", "infer")
    'llama-3.1-8b-infer'
    """
    if isinstance(model, Mapping):
        model = config_label(model)
    tail = str(model).replace("\\", "/").rstrip("/").rpartition("/")[2].removesuffix(".json").casefold()
    slug = "".join(c if c.isalnum() or c in "._-" else "-" for c in tail).strip("._-")
    return f"{slug[:100] or 'model'}-{mode}"


def config_label(config: Mapping[str, Any]) -> str:
    """What an inline config is called: its `_name_or_path`, else `inline` and its model_type."""
    label = config.get("_name_or_path")
    return label if isinstance(label, str) and label else f"inline-{config.get('model_type', 'model')}"


def default_engine(data: dict[str, Any]) -> str:
    """Engine of an inference workload that names none; see `InferWorkload.engine`."""
    precisions = data.get("precision", "auto")
    if precisions != "auto" and all(p.startswith("gguf-") for p in precisions):
        return "llamacpp"
    served = data.get("targets", InferTargets()) != InferTargets()
    return "vllm" if served and data.get("image") is None and data.get("audio") is None else "transformers"


def default_lora(data: dict[str, Any]) -> Lora | None:
    """Adapters of a training workload that describes none: the defaults for lora and qlora, none for full."""
    return None if data.get("method", "full") == "full" else Lora()


ModelRef = Annotated[
    Annotated[Text, Tag("text")] | Annotated[Config, Field(min_length=1, max_length=1000), Tag("map")],
    by_kind("a model's catalog id, the path of a config.json, or the keys of one"),
]
OffloadChoice = Annotated[
    Annotated[Literal["none", "auto"], Tag("text")] | Annotated[OffloadPlaces, Tag("map")],
    by_kind("none, auto, or {cpu: true, disk: false}"),
]


class WorkloadBase(SpecModel):
    """What inference and training have in common."""

    model: ModelRef
    """Catalog id or alias; path of a config.json in the spec's folder; or the keys of a config.json."""
    mode: Mode
    """infer or train."""
    name: Name = Field(default_factory=lambda data: default_name(data.get("model"), data.get("mode")))
    """Unique in the spec; left out = the end of the model's name and the mode, numbered where that is taken."""
    images: Images | None = None
    """Images in each request or sample."""
    image: Image | None = None
    """The image a diffusion model makes."""
    audio: Audio | None = None
    """The recording in each request or sample of a speech model."""
    attention: Annotated[Attention, BeforeValidator(fold_case)] = "flash"
    """Attention kernel: flash, sdpa, or eager (which holds the whole score matrix)."""
    offload: OffloadChoice = "none"
    """May parts live in host memory or on disk? `auto` lets the optimiser choose how much."""
    apart_from: Annotated[tuple[Name, ...], Field(strict=False, max_length=1000)] = ()
    """Workloads with which it shares no node, by name."""
    engine_options: Annotated[
        dict[
            Name,
            Annotated[
                Annotated[bool, Tag("flag")]
                | Annotated[int, Field(ge=-(10**15), le=10**15), Tag("number")]
                | Annotated[float, Field(ge=-1e15, le=1e15), Tag("decimal")]
                | Annotated[Text, Tag("text")]
                | Annotated[None, Tag("empty")],
                by_kind("a number, text, true or false"),
            ],
        ],
        Field(max_length=200),
    ] = Field(default_factory=dict)
    """Single fields of the engine profile that differ, such as `gpu_memory_utilization: 0.9`."""
    hours: Annotated[
        tuple[Hours, ...],
        BeforeValidator(as_list, json_schema_input_type=str | list[str]),
        Field(strict=False, max_length=24),
    ] = ()
    """Hours of the day in which it runs, `20:00-08:00` or a list of such; left out = always. Workloads whose hours
    do not meet may use the same GPUs one after the other. Targets hold within them; a deadline counts all hours."""
    pin: Pin = Pin()
    """Decisions already taken; the optimiser keeps them."""

    @property
    def model_label(self) -> str:
        """What the model is called: its catalog id as written, the path or `inline-<model_type>` of a config."""
        return self.model if isinstance(self.model, str) else config_label(self.model)

    @property
    def day_share(self) -> float:
        """Share of the day in which it runs."""
        return day_share(self.hours)

    @property
    def effective_attention(self) -> Attention:
        """The attention kernel, the pin first."""
        return self.pin.attention or self.attention


Precisions = Annotated[
    Annotated[Auto, Tag("text")]
    | Annotated[
        tuple[Annotated[InferPrecision, BeforeValidator(fold_case)], ...],
        Field(strict=False, min_length=1, max_length=100),
        Tag("list"),
    ],
    by_kind("auto, a precision, or a list of them"),
]


def listed_unless_auto(value: object) -> object:
    """One precision stands for a list of one; `auto` stays."""
    return "auto" if fold_case(value) == "auto" else as_list(value)


class InferWorkload(WorkloadBase):
    """A model that answers."""

    mode: Literal["infer"]
    """Inference."""
    sequence: Annotated[Sequence, BeforeValidator(split_context, json_schema_input_type=int | Sequence)] | None = None
    """Tokens of a request: `{input, output}`, or the whole context as one integer N, which is read as
    N // 8 (at least 1) tokens of answer after the rest as prompt."""
    traffic: Annotated[tuple[Traffic, ...], Field(strict=False, max_length=1000)] = ()
    """A mix of requests instead of `sequence`; the shares add up to 1."""
    batch: Annotated[
        Annotated[Count, Tag("number")] | Annotated[Auto, Tag("text")],
        by_kind("a whole number of sequences, or auto"),
    ] = "auto"
    """Sequences in flight per replica, over its data-parallel ranks; `auto` = the most that memory and targets let."""
    precision: Annotated[
        Precisions,
        BeforeValidator(listed_unless_auto, json_schema_input_type=Auto | InferPrecision | list[InferPrecision]),
    ] = "auto"
    """Number formats of the weights to choose from: auto, one, or a list."""
    min_quality: Share = 0.97
    """Least share of the 16-bit model's quality, as the catalog judges it, for formats of `precision: auto`."""
    kv_precision: Annotated[KvChoice, BeforeValidator(fold_case)] = "auto"
    """Number format of the KV cache; `auto` = what the weights' format brings with it."""
    targets: InferTargets = InferTargets()
    """What the workload must deliver."""
    least_nodes: Count = 1
    """Nodes on which its replicas stand at least: with 2 it outlives the loss of any one."""
    mixed: bool = False
    """May replicas of several configurations (GPU types, splits, number formats) serve it together where that is
    cheaper? Needs a target that replicas add up to."""
    engine: EngineRef = Field(default_factory=default_engine)
    """Engine profile, `name` or `name@version`; left out = llamacpp for gguf precisions, vllm where targets are given
    for a model that writes text, else transformers."""

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        refuse([*mix_problems(self), *infer_problems(self)])
        return self

    @property
    def mix(self) -> tuple[Traffic, ...]:
        """The requests as shares, whether given by `sequence` or `traffic`; empty where neither is given."""
        if self.sequence is None:
            return self.traffic
        return (Traffic(input=self.sequence.input, output=self.sequence.output, share=1.0),)

    @property
    def effective_batch(self) -> int | Auto:
        """Sequences in flight per replica, the pin first."""
        return self.pin.batch or self.batch

    @property
    def effective_precision(self) -> Auto | tuple[AnyPrecision, ...]:
        """Number formats of the weights to choose from, the pin first."""
        return self.precision if self.pin.precision is None else (self.pin.precision,)

    @property
    def effective_kv_precision(self) -> KvChoice:
        """Number format of the KV cache, the pin first."""
        return self.pin.kv_precision or self.kv_precision


class TrainWorkload(WorkloadBase):
    """A model that learns."""

    mode: Literal["train"]
    """Training."""
    sequence: Tokens
    """Tokens of one sequence."""
    batch: Annotated[TrainBatch, BeforeValidator(global_batch, json_schema_input_type=int | TrainBatch)]
    """Sequences per step, `{global, micro}`, or the global batch as one integer."""
    method: Annotated[Method, BeforeValidator(fold_case)] = "full"
    """What is trained: full (everything), lora (adapters), qlora (adapters on a 4-bit base)."""
    lora: Lora | None = Field(default_factory=default_lora)
    """The adapters of `method: lora` and `qlora`."""
    optimizer: Annotated[Optimizer, BeforeValidator(fold_case)] = "adamw"
    """The optimizer, which decides the bytes of state."""
    precision: Annotated[
        tuple[Annotated[TrainPrecision, BeforeValidator(fold_case)], ...],
        BeforeValidator(as_list, json_schema_input_type=TrainPrecision | list[TrainPrecision]),
        Field(strict=False, min_length=1, max_length=100),
    ] = ("bf16-mixed", "fp16-mixed")
    """Number formats to choose from, one or a list: `-mixed` keeps 32-bit masters of what is trained. Beside
    bf16-mixed, fp16-mixed stands in on GPUs without bf16 and nowhere else."""
    checkpointing: Annotated[CheckpointingChoice, BeforeValidator(fold_case)] = "auto"
    """Which activations are computed again in the backward pass instead of kept."""
    sharding: Annotated[ShardingChoice, BeforeValidator(fold_case)] = "auto"
    """What data-parallel ranks share out: zero1 optimizer, zero2 and gradients, zero3 (= FSDP) and weights."""
    targets: TrainTargets = TrainTargets()
    """What the workload must deliver."""
    engine: EngineRef = "transformers"
    """Engine profile, `name` or `name@version`."""

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        refuse([*lora_problems(self), *train_problems(self)])
        return self

    @property
    def effective_global_batch(self) -> int:
        """Sequences per optimizer step over all GPUs, the pin first."""
        return self.pin.batch or self.batch.global_

    @property
    def effective_micro_batch(self) -> int | Auto:
        """Sequences in one forward pass on one GPU, the pin first."""
        return self.pin.micro_batch or self.batch.micro

    @property
    def effective_precision(self) -> tuple[AnyPrecision, ...]:
        """Number formats to choose from, the pin first."""
        return self.precision if self.pin.precision is None else (self.pin.precision,)

    @property
    def effective_checkpointing(self) -> CheckpointingChoice:
        """Which activations are computed again, the pin first."""
        return self.pin.checkpointing or self.checkpointing

    @property
    def effective_sharding(self) -> ShardingChoice:
        """What data-parallel ranks share out, the pin first."""
        return self.pin.sharding or self.sharding
