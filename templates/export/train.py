"""Trains one model with the Hugging Face Trainer as a plan chose. DATA and OUTPUT come from the environment."""

import os

import torch
from datasets import load_dataset
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    DataCollatorForLanguageModeling,
    Trainer,
    TrainingArguments,
)

SETTINGS = "@SETTINGS@"


def data(tokenizer):
    """Text joined and cut into sequences of equal length, as the plan counts them."""
    source = os.environ["DATA"]
    is_file = os.path.exists(source)
    rows = load_dataset("json", data_files=source, split="train") if is_file else load_dataset(source, split="train")
    length = SETTINGS["sequence_tokens"]

    def tokens(batch):
        joined = [t for text in batch["text"] for t in [*tokenizer(text)["input_ids"], tokenizer.eos_token_id]]
        return {"input_ids": [joined[i : i + length] for i in range(0, len(joined) - length + 1, length)]}

    return rows.map(tokens, batched=True, remove_columns=rows.column_names)


def quantization():
    """How the base is kept; None = in its own number format."""
    if SETTINGS["base_precision"] == "nf4":
        return BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=getattr(torch, SETTINGS["compute_dtype"]),
        )
    return BitsAndBytesConfig(load_in_8bit=True) if SETTINGS["base_precision"] == "int8" else None


def loaded():
    """The model, with adapters where the plan trains those."""
    quantized = quantization()
    place = {"device_map": {"": int(os.environ.get("LOCAL_RANK", "0"))}} if quantized else {}
    model = AutoModelForCausalLM.from_pretrained(
        SETTINGS["model"],
        dtype=getattr(torch, SETTINGS["dtype"]),
        attn_implementation=SETTINGS["attention"],
        quantization_config=quantized,
        **place,
    )
    if SETTINGS["lora"] is None:
        return model
    from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training

    if quantized:
        recompute = SETTINGS["arguments"]["gradient_checkpointing"]
        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=recompute)
    elif SETTINGS["arguments"]["gradient_checkpointing"]:
        model.enable_input_require_grads()
    model = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **SETTINGS["lora"]))
    for weight in model.parameters():
        if weight.requires_grad:
            weight.data = weight.data.to(getattr(torch, SETTINGS["adapter_dtype"]))
    return model


def main():
    arguments = dict(SETTINGS["arguments"])
    if arguments["max_steps"] < 0:
        arguments["max_steps"] = int(os.environ["STEPS"])
    training = TrainingArguments(
        output_dir=os.environ.get("OUTPUT", "output"),
        learning_rate=float(os.environ.get("LEARNING_RATE", "2e-5")),
        gradient_checkpointing_kwargs={"use_reentrant": False},
        save_strategy="steps",
        save_steps=500,
        logging_steps=10,
        report_to="none",
        **arguments,
    )
    tokenizer = AutoTokenizer.from_pretrained(SETTINGS["model"])
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    trainer = Trainer(
        model=loaded(),
        args=training,
        train_dataset=data(tokenizer),
        data_collator=DataCollatorForLanguageModeling(tokenizer, mlm=False),
    )
    trainer.train()
    trainer.save_model()


if __name__ == "__main__":
    main()
