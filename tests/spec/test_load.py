"""Loading a spec: every mistake with its place, its wording and the way out."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

import pytest

from planner.errors import InputError
from planner.spec.load import load_spec, load_spec_text, spec_from_mapping
from planner.spec.types import InferWorkload, TrainWorkload

INFER = "model: gpt2, mode: infer, sequence: 8"
TRAIN = "model: gpt2, mode: train, sequence: 8, batch: 64"


def infer(keys: str) -> str:
    return f"workloads:\n  - {{name: a, {INFER}, {keys}}}\n"


def train(keys: str) -> str:
    return f"workloads:\n  - {{name: a, {TRAIN}, {keys}}}\n"


def fleet(keys: str) -> str:
    return f"fleet: {{{keys}}}\nworkloads: [{{{INFER}}}]\n"


def messages(text: str) -> tuple[str, ...]:
    """Every message about a spec that must not load."""
    with pytest.raises(InputError) as caught:
        load_spec_text(text, "f.yaml")
    assert caught.value.exit_code == 2
    return caught.value.messages


# The mark § stands where the message must point to.
ONE_MISTAKE = {
    # the document
    "a list at the top": ("§- a", "a spec is a mapping; it begins with a key such as `workloads:`"),
    "text at the top": ("§hello", "a spec is a mapping"),
    "no workloads": ("§name: x", "`workloads` is missing"),
    "empty workloads": ("workloads: §[]", "workloads: is empty; give at least one"),
    "null workloads": ("workloads:§", "workloads: expected a list, got nothing (the key is empty)"),
    "later version": (f"version: §2\nworkloads: [{{{INFER}}}]", "version: unknown value 2; one of 1"),
    "YAML error": ("workloads: [\n§", "not valid YAML"),
    # keys
    "unknown key": (f"§nam: x\nworkloads: [{{{INFER}}}]", "unknown key 'nam'; nearest: name"),
    "unknown workload key": (
        infer("§batchsize: 3"),
        "workloads.a: unknown key 'batchsize'; nearest: batch",
    ),
    "key at the wrong level": (
        infer("§ttft_ms: 3"),
        "workloads.a: unknown key 'ttft_ms' here; it belongs to `workloads.targets.ttft_ms`",
    ),
    "key of the other mode": (
        infer("§method: lora"),
        "workloads.a: the key 'method' belongs to mode: train",
    ),
    "target of the other mode": (
        train("targets: {§ttft_ms: 3}"),
        "workloads.a.targets: the key 'ttft_ms' belongs to mode: infer",
    ),
    "missing model": ("workloads: [§{mode: infer, sequence: 8}]", "workloads[1]: `model` is missing"),
    "missing mode": ("workloads: [§{model: gpt2}]", "workloads[1]: `mode` is missing; one of infer, train"),
    "missing sequence": (
        "workloads: [§{model: gpt2, mode: infer}]",
        "workloads.gpt2-infer: `sequence` is missing; give `sequence: {input: 1024, output: 256}`",
    ),
    "missing batch": (
        "workloads: [§{model: gpt2, mode: train, sequence: 8}]",
        "workloads.gpt2-train: `batch` is missing",
    ),
    # types
    "text for a number": (
        infer("min_quality: §'0.9'"),
        "workloads.a.min_quality: expected a number, got the text '0.9'; take the quotes away",
    ),
    "thousands separator": (
        fleet("limits: {gpus: §1_000}"),
        "fleet.limits.gpus: expected a whole number, got the text '1_000'; write 1000",
    ),
    "flag for a number": (
        fleet("spare_nodes: §true"),
        "fleet.spare_nodes: expected a whole number, got true",
    ),
    "yes for a flag": (
        fleet("share_gpus: §yes"),
        "fleet.share_gpus: expected true or false, got the text 'yes'; write true",
    ),
    "one for a flag": (fleet("share_gpus: §1"), "fleet.share_gpus: expected true or false, got 1"),
    "float for a count": (
        train("pin: {tensor_parallel: §2.0}"),
        "workloads.a.pin.tensor_parallel: expected a whole number, got 2.0; write 2",
    ),
    "missing space after the colon": (
        fleet("limits: §usd_per_hour:90"),
        "fleet.limits: expected a mapping of keys to values, got the text 'usd_per_hour:90'; "
        "is a space missing after the colon?",
    ),
    "number for a section": (
        f"horizon: §36\nworkloads: [{{{INFER}}}]",
        "horizon: expected a mapping of keys to values, got 36",
    ),
    "text for the sequence": (
        "workloads: [{model: gpt2, mode: infer, sequence: §long}]",
        "workloads.gpt2-infer.sequence: expected a whole number of tokens, or {input: 1024, output: 256}; "
        "got the text 'long'",
    ),
    "flag for the batch": (
        infer("batch: §true"),
        "workloads.a.batch: expected a whole number of sequences, or auto; got true",
    ),
    "number for the model": (
        "workloads: [{model: §7, mode: infer, sequence: 8}]",
        "workloads.7-infer.model: expected a model's catalog id, the path of a config.json, or the keys of one; got 7",
    ),
    "list as an engine option": (
        infer("engine_options: {compile: §[1]}"),
        "workloads.a.engine_options.compile: expected a number, text, true or false; got a list",
    ),
    # values
    "unknown mode": (
        "workloads: [{model: gpt2, mode: §infr, sequence: 8}]",
        "workloads.gpt2-infr.mode: unknown value 'infr'; nearest: infer; one of infer, train",
    ),
    "unknown precision": (
        infer("precision: §bf17"),
        "workloads.a.precision: unknown value 'bf17'; nearest: bf16",
    ),
    "unknown precision in a list": (
        infer("precision: [bf16, §int4-awk]"),
        "workloads.a.precision[2]: unknown value 'int4-awk'; nearest: int4-awq",
    ),
    "unknown optimizer": (
        train("optimizer: §adamw8bit"),
        "workloads.a.optimizer: unknown value 'adamw8bit'; nearest: adamw-8bit",
    ),
    "unknown objective": (
        f"objective: [cost, §powr]\nworkloads: [{{{INFER}}}]",
        "objective[2]: unknown value 'powr'; nearest: power; one of cost, power, gpus, carbon",
    ),
    "objective twice": (
        f"objective: §[cost, cost]\nworkloads: [{{{INFER}}}]",
        "objective: named twice: cost",
    ),
    "negative batch": (infer("batch: §-3"), "workloads.a.batch: -3 must be at least 1"),
    "zero tokens": (
        "workloads: [{model: gpt2, mode: infer, sequence: §0}]",
        "workloads.gpt2-infer.sequence: must be 1 to 100000000 tokens",
    ),
    "negative limit": (
        fleet("limits: {power_kw: §-1}"),
        "fleet.limits.power_kw: -1 must be more than 0",
    ),
    "headroom of everything": (
        fleet("memory_headroom: §1.0"),
        "fleet.memory_headroom: 1.0 must be less than 1",
    ),
    "PUE below one": (
        f"site: {{pue: §0.9}}\nworkloads: [{{{INFER}}}]",
        "site.pue: 0.9 must be at least 1",
    ),
    "glob with a space": (
        fleet("gpus: [§'h 100']"),
        "fleet.gpus[1]: the text 'h 100' has not the form expected: an id or a glob such as h100-*",
    ),
    "engine without a version": (
        infer("engine: §vllm@"),
        "workloads.a.engine: the text 'vllm@' has not the form expected: an engine such as vllm",
    ),
    "colour by name": (
        f"report: {{accent: §red}}\nworkloads: [{{{INFER}}}]",
        "report.accent: the text 'red' has not the form expected: a colour such as #0B5FFF",
    ),
    # names
    "right-to-left override": (
        f'workloads: [{{name: §"a\\u202Eb", {INFER}}}]',
        "workloads[1].name: holds the invisible or control character U+202E",
    ),
    "zero-width space": (
        f'workloads: [{{name: §"a\\u200Bb", {INFER}}}]',
        "workloads[1].name: holds the invisible or control character U+200B",
    ),
    "escape sequence": (
        f'workloads: [{{name: §"\\e[31mred", {INFER}}}]',
        "the control character U+001B in a text; take it out",
    ),
    "markup": (
        f"workloads: [{{name: §'<b>', {INFER}}}]",
        "workloads.<b>.name: '<' is not allowed in a name",
    ),
    "path as the spec's name": (
        f"name: §../../etc\nworkloads: [{{{INFER}}}]",
        "name: a name begins with a letter or digit",
    ),
    "folder in the spec's name": (
        f"name: §a/b\nworkloads: [{{{INFER}}}]",
        "name: this name becomes a folder, so it cannot hold / or :",
    ),
    "endless name": (f"name: §{'x' * 129}\nworkloads: [{{{INFER}}}]", "name: is too long; at most 128"),
    "empty name": (f"name: §''\nworkloads: [{{{INFER}}}]", "name: is empty"),
    "duplicate name": (
        f"workloads:\n- {{name: chat, {INFER}}}\n- {{name: §Chat, {TRAIN}}}",
        "workloads.Chat.name: the name 'Chat' is taken by workload 1; names are unique",
    ),
    # across keys
    "micro does not divide": (
        "workloads:\n- {name: a, model: gpt2, mode: train, sequence: 8, batch: {global: 64, micro: §24}}",
        "workloads.a.batch.micro: micro 24 does not divide global 64; nearest that does: 16",
    ),
    "adapters of a full fine-tune": (
        train("lora: §{rank: 8}"),
        "workloads.a.lora: given with method: full; write `method: lora` (or qlora), or take it out",
    ),
    "offload of more than everything": (
        infer("pin: {offload: {weights_cpu: 0.7, weights_disk: §0.6}}"),
        "workloads.a.pin.offload.weights_disk: weights_cpu 0.7 and weights_disk 0.6 add up to 1.3; "
        "at most 1, so weights_disk 0.3 or less",
    ),
    "offload fraction above one": (
        infer("pin: {offload: {kv_cpu: §25}}"),
        "workloads.a.pin.offload.kv_cpu: 25 must be at most 1",
    ),
    "optimizer of an inference": (
        infer("pin: {offload: {optimizer_cpu: §1}}"),
        "workloads.a.pin.offload.optimizer_cpu: mode: infer has no such thing; use weights_cpu or weights_disk",
    ),
    "offload that is forbidden": (
        infer("offload: none, pin: {offload: §{kv_cpu: 1}}"),
        "workloads.a.pin.offload: contradicts offload: none; take one of the two out",
    ),
    "disk that is forbidden": (
        infer("offload: {cpu: true}, pin: {offload: {weights_disk: §1}}"),
        "workloads.a.pin.offload.weights_disk: contradicts offload.disk: false",
    ),
    "pin against key": (
        infer("batch: 8, pin: {batch: §16}"),
        "workloads.a.pin.batch: 16 contradicts batch: 8; keep one of the two",
    ),
    "pin outside the list": (
        infer("precision: [bf16, fp8], pin: {precision: §int8}"),
        "workloads.a.pin.precision: int8 contradicts precision: bf16, fp8; keep one of the two",
    ),
    "training precision for inference": (
        infer("pin: {precision: §bf16-mixed}"),
        "workloads.a.pin.precision: bf16-mixed is a training precision; for mode: infer bf16",
    ),
    "inference precision for training": (
        train("pin: {precision: §nf4}"),
        "workloads.a.pin.precision: nf4 is not a training precision; one of fp32, fp16-mixed, bf16-mixed, bf16",
    ),
    "sharding pinned for inference": (
        infer("pin: {sharding: §zero3}"),
        "workloads.a.pin.sharding: belongs to mode: train; take it out",
    ),
    "KV cache of a training": (
        train("pin: {kv_precision: §fp8}"),
        "workloads.a.pin.kv_precision: belongs to mode: infer; training keeps no KV cache",
    ),
    "replicas of a training": (
        train("pin: {replicas: §2}"),
        "workloads.a.pin.replicas: training is one job, not 2; give data_parallel 2",
    ),
    "sequence and traffic": (
        infer("traffic: §[{input: 1, output: 1, share: 1}]"),
        "workloads.a.traffic: given beside `sequence`; keep one of the two",
    ),
    "shares of a mix": (
        "workloads: [{model: gpt2, mode: infer, traffic: §[{input: 1, share: 0.7}, {input: 2, share: 0.2}]}]",
        "workloads.gpt2-infer.traffic: the shares add up to 0.9, not 1",
    ),
    "speed of no output": (
        "workloads: [{model: x, mode: infer, sequence: {input: 8}, targets: {output_tokens_per_second: §4}}]",
        "workloads.x-infer.targets.output_tokens_per_second: no request has output tokens; ask requests_per_second",
    ),
    "tokens and steps": (
        train("targets: {tokens: 1000, steps: §4}"),
        "workloads.a.targets.steps: given beside `tokens`; keep one of the two",
    ),
    "deadline for nothing": (
        train("targets: {deadline_hours: §4}"),
        "workloads.a.targets.deadline_hours: a deadline needs `tokens` or `steps` to be done by then",
    ),
    "nothing but spares": (
        fleet("limits: {nodes: 2}, spare_nodes: §2"),
        "fleet.spare_nodes: 2 spare nodes leave none to work within limits.nodes 2",
    ),
    "everything excluded": (
        fleet("gpus: [h100-sxm], exclude_gpus: §['H100-*']"),
        "fleet.exclude_gpus: excludes everything that `gpus` allows (h100-sxm)",
    ),
    "buying without money": (
        fleet("procurement: [buy], limits: {capex_usd: §0}"),
        "fleet.limits.capex_usd: 0 forbids buying, the only procurement allowed; allow renting too",
    ),
    "demand of a stranger": (
        f"workloads: [{{name: chat, {INFER}}}]\nperiods: [{{months: 12, demand: {{chta: §2}}}}]",
        "periods[1].demand.chta: no workload is named 'chta'; nearest: chat",
    ),
    "a part of a GPU that is split": (
        f"workloads: [{{{INFER}, pin: {{tensor_parallel: 2, mig: §1g.10gb}}}}]",
        "workloads.gpt2-infer.pin.mig: a replica on a part of a GPU is not split over 2; leave the degrees out",
    ),
    "hours without time in them": (
        f"workloads: [{{{INFER}, hours: §'08:00-08:00'}}]",
        "workloads.gpt2-infer.hours: 08:00-08:00 has no time in it; leave `hours` out for the whole day",
    ),
    "hours that overlap": (
        f"workloads: [{{{INFER}, hours: §['08:00-12:00', '11:00-13:00']}}]",
        "workloads.gpt2-infer.hours: the ranges 08:00-12:00, 11:00-13:00 overlap",
    ),
    "a workload that runs in no period": (
        f"workloads: [{{name: chat, {INFER}}}]\nperiods:\n- {{months: 6, demand: {{chat: §0}}}}\n"
        "- {months: 6, demand: {chat: 0}}",
        "periods[1].demand.chat: chat runs in no period; leave the workload out",
    ),
    "a lead without periods": (
        f"workloads: [{{{INFER}}}]\nfleet: {{lead_months: §3}}",
        "fleet.lead_months: counts where there are `periods`; add them, or take it out",
    ),
    "a budget of a period without periods": (
        f"workloads: [{{{INFER}}}]\nfleet: {{limits: {{capex_usd_per_period: §5}}}}",
        "fleet.limits.capex_usd_per_period: there are no `periods`; add them, or limit capex_usd",
    ),
    "periods past the horizon": (
        f"workloads: [{{{INFER}}}]\nperiods:\n- {{months: 24, demand: {{}}}}\n- {{months: §24, demand: {{}}}}",
        "periods[2].months: the periods reach month 48, the horizon ends at 36; set horizon: {months: 48}",
    ),
}


@pytest.mark.parametrize(("marked", "message"), ONE_MISTAKE.values(), ids=ONE_MISTAKE)
def test_one_mistake_gives_one_message_with_place_path_and_way_out(marked: str, message: str) -> None:
    before, _, after = marked.partition("§")
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    found = messages(before + after)
    assert len(found) == 1, found
    assert found[0].startswith(f"f.yaml:{line}:{column}: {message}")


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file() -> None:
    text = (
        "nam: x\n"
        "workloads:\n"
        "  - {name: a, model: gpt2, mode: train, sequence: 8, batch: 64, optimizer: adamx}\n"
        "  - {name: a, model: gpt2, mode: infer, sequence: 8, batch: -1}\n"
        "fleet: {limits: {gpus: many}}\n"
    )
    places = [m.split(": ")[0] for m in messages(text)]
    assert places == ["f.yaml:1:1", "f.yaml:3:76", "f.yaml:4:12", "f.yaml:4:61", "f.yaml:5:24"]


def test_twenty_messages_are_shown_and_the_others_counted() -> None:
    found = messages("workloads:\n" + "- {model: gpt2, mode: infer, sequence: 8, batch: 0}\n" * 50)
    assert len(found) == 21
    assert found[19].startswith("f.yaml:21:50: workloads.gpt2-infer-20.batch: 0 must be at least 1")
    assert found[20] == "... and 30 more"


def test_names_that_no_terminal_should_see_are_not_repeated_in_messages() -> None:
    workloads = f"workloads: [{{{INFER}}}]"
    (found,) = messages(f'{workloads}\nperiods: [{{months: 1, demand: {{"\\u202Ex": 1}}}}]')
    assert found == "f.yaml:2:32: periods[1].demand: holds the invisible or control character U+202E"
    (found,) = messages(f'{workloads}\n"\\u202Ex": 1')
    assert found.startswith("f.yaml:2:1: unknown key '\\u202ex'")


def test_four_hundred_workloads_load_in_a_second_and_a_half() -> None:
    pin = "pin: {gpu: h100-sxm-80gb, replicas: 1, tensor_parallel: 1, pipeline_parallel: 1, data_parallel: 1}"
    one = f"- {{model: org/m, mode: infer, engine: vllm@0.11.0, sequence: 99, precision: fp8, {pin}}}"
    began = time.perf_counter()
    assert len(load_spec_text("workloads:\n" + f"{one}\n" * 400).spec.workloads) == 400
    assert time.perf_counter() - began < 1.5


def test_a_hundred_thousand_unknown_keys_are_counted_and_not_explained() -> None:
    found = messages("{" + ",".join(f"k{n}" for n in range(60_000)) + "}")
    assert found[-1] == "... and 59981 more"  # the keys, and the missing `workloads`, less the 20 shown


def test_names_that_catalogs_know_are_not_judged_here() -> None:
    text = "workloads: [{model: no-such-model, mode: infer, sequence: 8, engine: no-engine@9, pin: {gpu: no-gpu}}]"
    assert load_spec_text(text).spec.workloads[0].pin.gpu == "no-gpu"


def test_a_yaml_file_is_loaded_with_its_hash_and_places(tmp_path: Path) -> None:
    path = tmp_path / "fleet.yaml"
    raw = b"name: demo\nworkloads:\n  - model: gpt2\n    mode: infer\n    sequence: 8\n    pin: {gpu: l4}\n"
    path.write_bytes(raw)
    loaded = load_spec(path)
    assert loaded.spec.name == "demo"
    assert loaded.text_sha256 == hashlib.sha256(raw).hexdigest()
    assert loaded.where(("workloads", "gpt2-infer", "pin", "gpu")) == f"{path}:6:16"
    assert loaded.where(("workloads", 0, "pin", "node")) == f"{path}:6:10"
    assert loaded.where(("fleet", "limits", "gpus")) == f"{path}:1:1"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("big.yaml", b"#" * 10_000_000, "has 10,000,000 bytes; a spec has at most 1,048,576"),
        ("binary.yaml", b"\x7fELF\x02\x01\x01\0\0\0", "binary.yaml:1:8: a NUL byte: this is not a text file"),
        ("empty.yaml", b"", "empty.yaml:1:1: the file is empty; `plan init` writes a spec to start from"),
    ],
)
def test_a_file_that_cannot_be_a_spec_is_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        load_spec(path)
    assert message in str(caught.value)


def test_a_misspelt_file_name_gets_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "workloads.yaml").write_text("a: 1")
    with pytest.raises(InputError, match=r"there is no such file; nearest: workloads\.yaml"):
        load_spec(tmp_path / "worklods.yaml")


def test_a_folder_is_not_a_spec(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder"):
        load_spec(tmp_path)


def test_a_device_is_not_read() -> None:
    with pytest.raises(InputError, match="is not a regular file; write `-`"):
        load_spec(Path("/dev/zero"))


def test_flags_are_checked_like_a_file_but_without_places() -> None:
    spec = spec_from_mapping({"workloads": [{"model": "gpt2", "mode": "infer", "sequence": 8}]})
    assert isinstance(spec.workloads[0], InferWorkload)
    with pytest.raises(InputError) as caught:
        spec_from_mapping({"workloads": [{"model": "gpt2", "mode": "infer", "sequence": 8, "batch": -1}]}, "flags")
    assert caught.value.messages == ("flags: workloads.gpt2-infer.batch: -1 must be at least 1",)


def test_the_smallest_spec_of_the_contract_loads() -> None:
    text = (
        "workloads:\n"
        "  - {model: llama-2-7b, mode: infer, batch: 1, sequence: 2048}\n"
        "  - {model: gpt2-xl, mode: train, batch: 8, sequence: 1024}\n"
    )
    chat, tune = load_spec_text(text).spec.workloads
    assert isinstance(chat, InferWorkload)
    assert isinstance(tune, TrainWorkload)
    assert (chat.name, chat.engine, chat.batch) == ("llama-2-7b-infer", "transformers", 1)
    assert chat.sequence is not None
    assert (chat.sequence.input, chat.sequence.output) == (1792, 256)
    assert (tune.name, tune.batch.global_, tune.batch.micro) == ("gpt2-xl-train", 8, "auto")
