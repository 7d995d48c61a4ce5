"""The ground under every spec type: strictness, bounded numbers, safe text and the vocabularies of the contract."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Discriminator, Field
from pydantic_core import PydanticCustomError

Problem = tuple[tuple[str | int, ...], str]
"""Where inside the checked value (a path of keys and indices), and what is wrong there."""
WRONG_KIND = "wrong_kind"
"""Type of the validation error for text where a number is due, and the like."""
PROBLEMS = "spec_problems"
"""Type of the validation error that carries several `Problem`s in its context."""


class SpecModel(BaseModel):
    """Part of a spec: frozen, strict (no text for numbers, no true for 1), unknown keys refused."""

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="forbid",
        use_attribute_docstrings=True,
        allow_inf_nan=False,
    )


def refuse(problems: Iterable[Problem]) -> None:
    """Raise one validation error that carries all `problems`; do nothing when there are none."""
    found = list(problems)
    if found:
        text = "; ".join(f"{'.'.join(map(str, at))}: {what}" if at else what for at, what in found)
        raise PydanticCustomError(PROBLEMS, "{text}", {"text": text, "problems": found})


# --- text --------------------------------------------------------------------------------------------

ZERO_WIDTH_NON_JOINER = "\u200c"
"""Allowed in names although a format character: Persian spelling needs it."""
NAME_PUNCTUATION = " ._/:+-"
MAX_NAME_LENGTH = 128


def printable(text: str) -> str:
    """Refuse control, format and surrogate characters; return the text in NFC."""
    for c in text:
        if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp") and c != ZERO_WIDTH_NON_JOINER:
            raise ValueError(f"holds the invisible or control character U+{ord(c):04X}")
    return unicodedata.normalize("NFC", text)


def plain_name(text: str) -> str:
    """Refuse what is not a letter, mark, digit or one of ` ._/:+-`, and names that begin or end oddly."""
    text = printable(text)
    for c in text:
        if not (unicodedata.category(c)[0] in "LMN" or c in NAME_PUNCTUATION or c == ZERO_WIDTH_NON_JOINER):
            raise ValueError(f"{c!r} is not allowed in a name; use letters, digits and {NAME_PUNCTUATION.strip()}")
    if text != text.strip() or not text[0].isalnum():
        raise ValueError("a name begins with a letter or digit and has no spaces around it")
    return text


def folder_name(text: str) -> str:
    """A name that is also safe as the name of one folder."""
    text = plain_name(text)
    if any(c in text for c in "/:"):
        raise ValueError("this name becomes a folder, so it cannot hold / or :")
    return text


def fold_case(value: object) -> object:
    """Ids are case-insensitive: fold text, leave anything else for the type to judge."""
    return value.casefold() if isinstance(value, str) else value


def as_list(value: object) -> object:
    """One text stands for a list of one."""
    return [value] if isinstance(value, str) else value


def no_repeats(items: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse a list that names something twice."""
    twice = sorted({i for i in items if items.count(i) > 1})
    if twice:
        raise ValueError(f"named twice: {', '.join(twice)}")
    return items


def kind_of(value: object) -> str:
    """The kind of a YAML value: `number` (whole), `decimal`, `text`, `flag`, `list`, `map` or `empty`."""
    match value:
        case None:
            return "empty"
        case bool():
            return "flag"
        case int():
            return "number"
        case float():
            return "decimal"
        case str():
            return "text"
        case BaseModel() | Mapping():
            return "map"
        case _:
            return "list"


def wrong_kind(expected: str) -> PydanticCustomError:
    """The error for a value of the wrong kind."""
    return PydanticCustomError(WRONG_KIND, "expected {expected}", {"expected": expected})


def by_kind(expected: str) -> Discriminator:
    """Choose the branch of a union by the kind of the value, so that one mistake gives one message."""
    return Discriminator(kind_of, custom_error_type=WRONG_KIND, custom_error_message=f"expected {expected}")


Text = Annotated[str, Field(min_length=1, max_length=256), AfterValidator(printable)]
"""Text for people."""
Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME_LENGTH), AfterValidator(plain_name)]
"""A name that the user gives."""
FolderName = Annotated[str, Field(min_length=1, max_length=MAX_NAME_LENGTH), AfterValidator(folder_name)]
CatalogId = Annotated[str, Field(min_length=1, max_length=MAX_NAME_LENGTH), AfterValidator(plain_name)]
"""A name that a catalog knows: compared without case, there and not here."""
Glob = Annotated[str, Field(min_length=1, max_length=MAX_NAME_LENGTH, pattern=r"^[\w.+\-*?\[\]!/:]+$")]
"""A catalog id, in which * and ? stand for any characters."""
EngineRef = Annotated[
    str,
    BeforeValidator(fold_case),
    Field(max_length=MAX_NAME_LENGTH, pattern=r"^[a-z][a-z0-9._-]*(@[0-9a-z][0-9a-z.+_-]*)?$"),
]
"""An engine profile, `name` or `name@version`."""

# --- numbers -----------------------------------------------------------------------------------------

MAX_TOKENS = 100_000_000
MAX_COUNT = 10_000_000
MAX_AMOUNT = 1e15

Tokens = Annotated[int, Field(ge=1, le=MAX_TOKENS)]
Count = Annotated[int, Field(ge=1, le=MAX_COUNT)]
"""How many: at least one."""
Degree = Annotated[int, Field(ge=1, le=65_536)]
"""How many ways something is split."""
Months = Annotated[int, Field(ge=1, le=240)]
Share = Annotated[float, Field(ge=0, le=1)]
Amount = Annotated[float, Field(gt=0, le=MAX_AMOUNT)]
"""A positive quantity in the unit its key names."""
AmountOrZero = Annotated[float, Field(ge=0, le=MAX_AMOUNT)]
"""A quantity that may be zero, in the unit its key names."""
Pixels = Annotated[int, Field(ge=1, le=65_536)]

# --- vocabularies ------------------------------------------------------------------------------------

Objective = Literal["cost", "power", "gpus", "carbon"]
Procurement = Literal["on_demand", "reserved_1y", "reserved_3y", "spot", "buy"]
Mode = Literal["infer", "train"]
Method = Literal["full", "lora", "qlora"]
InferPrecision = Literal[
    "fp32",
    "tf32",
    "fp16",
    "bf16",
    "fp8",
    "int8",
    "nf4",
    "int4-awq",
    "int4-gptq",
    "mxfp4",
    "nvfp4",
    "int8-gptq",
    "fp8-block",
    "int8-w8a8",
    "gguf-f16",
    "gguf-q8_0",
    "gguf-q6_k",
    "gguf-q5_k_m",
    "gguf-q4_k_m",
    "gguf-q3_k_m",
    "gguf-q2_k",
    "gguf-q4_0",
]
TrainPrecision = Literal["fp32", "fp16-mixed", "bf16-mixed", "bf16", "fp8-mixed"]
AnyPrecision = Literal[InferPrecision, TrainPrecision]
KvPrecision = Literal["bf16", "fp8", "int8"]
AdapterDtype = Literal["fp32", "bf16", "fp16"]
Attention = Literal["flash", "sdpa", "eager"]
Checkpointing = Literal["none", "selective", "full"]
Sharding = Literal["none", "zero1", "zero2", "zero3"]
Optimizer = Literal["adamw", "adamw-8bit", "adamw-paged-8bit", "adafactor", "sgd", "sgd-momentum", "lion", "muon"]
Auto = Literal["auto"]
KvChoice = Literal[KvPrecision, Auto]
CheckpointingChoice = Literal[Checkpointing, Auto]
ShardingChoice = Literal[Sharding, Auto]
Config = Mapping[str, Any]
"""The keys of a Hugging Face config.json; the architecture layer judges them."""
