"""Which rows make a line of the accuracy tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from planner.accuracy.figures import Figures, figures
from planner.accuracy.types import Scored

PLAIN_FORMATS = frozenset({"fp32", "tf32", "fp16", "bf16"})
OUTPUT_RATES = frozenset({"output_rate", "output_rate_per_gpu", "static_output_rate"})

Test = Callable[[Scored], bool]


@dataclass(frozen=True, slots=True)
class Kind:
    """One line of a table: its title and which rows it is about. A row may count in several."""

    title: str
    holds: Test


def engine(*names: str) -> Test:
    """Rows of some engines."""
    return lambda r: r.answer is not None and r.answer.engine in names


def kind(prefix: str) -> Test:
    """Rows of a kind of workload: `infer`, `train`, `train_full` ..."""
    return lambda r: r.answer is not None and r.answer.kind.startswith(prefix)


def rule(*names: str) -> Test:
    """Rows of some quantities."""
    return lambda r: r.rule in names


def both(*tests: Test) -> Test:
    """Rows that pass every test."""
    return lambda r: all(test(r) for test in tests)


def not_(test: Test) -> Test:
    """Rows that do not pass."""
    return lambda r: not test(r)


def framework(name: str) -> Test:
    """Rows of one framework, as the source calls it."""
    return lambda r: r.framework.casefold().startswith(name)


def sixteen_bit(r: Scored) -> bool:
    """Weights in 16 or 32 bits."""
    return r.precision in PLAIN_FORMATS


def every(r: Scored) -> bool:
    """All rows."""
    return True


def prefill(r: Scored) -> bool:
    """Prompts alone: a rate, or the first token of an engine that serves one batch after another."""
    return r.rule in ("prefill_rate", "prefill") or (r.rule == "ttft" and not SERVING(r))


SERVING = engine("vllm", "sglang", "trtllm")
LITGPT_INFER = both(kind("infer"), framework("litgpt"))
HF_INFER = both(kind("infer"), engine("transformers"), not_(framework("litgpt")))
MEGATRON = engine("megatron")

MEMORY_KINDS = (
    Kind("inference, Transformers, 16 and 32 bit", both(HF_INFER, sixteen_bit)),
    Kind("inference, Transformers, GPTQ, AWQ, fp8 and other", both(HF_INFER, not_(sixteen_bit))),
    Kind("inference, LitGPT (as Transformers)", LITGPT_INFER),
    Kind("start-up of vLLM and SGLang: weights", both(SERVING, rule("weights", "weights_sum"))),
    Kind(
        "start-up of vLLM and SGLang: KV pool",
        both(SERVING, rule("kv_pool", "kv_tokens", "kv_blocks")),
    ),
    Kind(
        "start-up of vLLM and SGLang: profile run",
        both(SERVING, rule("profile_activations", "profile_peak")),
    ),
    Kind("buffers, llama.cpp", engine("llamacpp")),
    Kind("full training, Megatron: static", both(kind("train_full"), MEGATRON, rule("static"))),
    Kind("full training, Megatron: peak", both(kind("train_full"), MEGATRON, not_(rule("static")))),
    Kind("full training, others", both(kind("train_full"), not_(MEGATRON))),
    Kind("LoRA", kind("train_lora")),
    Kind("QLoRA", kind("train_qlora")),
    Kind("all", every),
)

SPEED_KINDS = (
    Kind("decoding, one request", both(rule("decode_rate"), lambda r: r.answer is not None and r.answer.batch == 1)),
    Kind("generated tokens per second, serving and offline", rule(*OUTPUT_RATES, "request_rate")),
    Kind("latency of a static batch", rule("end_to_end")),
    Kind("prefill", prefill),
    Kind("time per output token under load", rule("tpot")),
    Kind("time to first token under load", both(rule("ttft"), SERVING)),
    Kind("inference, all", kind("infer")),
    Kind("full training", kind("train_full")),
    Kind("LoRA and QLoRA", both(kind("train"), not_(kind("train_full")))),
    Kind("training, all", kind("train")),
    Kind("all but time to first token", not_(rule("ttft"))),
    Kind("all", every),
)


def table(rows: Sequence[Scored], kinds: Sequence[Kind]) -> dict[str, Figures]:
    """Figures by title, of the kinds that have rows."""
    found = {k.title: [r for r in rows if k.holds(r)] for k in kinds}
    return {title: figures(of) for title, of in found.items() if of}


def of_family(rows: Iterable[Scored], family: str) -> list[Scored]:
    """The rows of memory, or those of speed."""
    return [r for r in rows if r.is_memory == (family == "memory")]


PEAK = rule("allocated")
SIMULATED_KINDS = (
    Kind("inference: allocated", both(kind("infer"), PEAK)),
    Kind("full training: allocated", both(kind("train_full"), PEAK)),
    Kind("LoRA: allocated", both(kind("train_lora"), PEAK)),
    Kind("QLoRA: allocated", both(kind("train_qlora"), PEAK)),
    Kind("all: allocated", PEAK),
    Kind("all: reserved", rule("reserved")),
    Kind("training: static", rule("static")),
)
"""Lines of simulated cases: peaks. Their parts stand in the table by quantity."""
MEASURED_KINDS = (
    Kind("inference: allocated", both(kind("infer"), PEAK)),
    Kind("full training: allocated", both(kind("train_full"), PEAK)),
    Kind("LoRA and QLoRA: allocated", both(kind("train"), not_(kind("train_full")), PEAK)),
    Kind("all: allocated", PEAK),
    Kind("all: reserved", rule("reserved")),
    Kind("all: device", rule("device")),
    Kind("host", rule("host")),
)
"""Lines of trials on a device of this project's own."""

KINDS: Mapping[tuple[str, str], Sequence[Kind]] = MappingProxyType(
    {
        ("published", "memory"): MEMORY_KINDS,
        ("published", "speed"): SPEED_KINDS,
        ("simulated", "memory"): SIMULATED_KINDS,
        ("simulated", "speed"): SPEED_KINDS,
        ("measured", "memory"): MEASURED_KINDS,
        ("measured", "speed"): SPEED_KINDS,
    }
)
"""Lines of the table of an origin and a family of figures."""
