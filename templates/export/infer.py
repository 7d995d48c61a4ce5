"""Serves one model with Hugging Face transformers as a plan chose: POST {"text": ...}, one JSON value back."""

import json
import queue
import threading
from concurrent.futures import Future
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import torch
import transformers

SETTINGS = "@SETTINGS@"
WAIT_S = 0.005
"""For further requests of a batch."""
MAX_BODY_BYTES = 2**20


def loaded():
    """The model in the plan's number format, on its GPUs."""
    kind = getattr(transformers, SETTINGS["class"])
    quantized = SETTINGS["quantization"]
    torch.backends.cuda.matmul.allow_tf32 = SETTINGS["tf32"]
    return kind.from_pretrained(
        SETTINGS["model"],
        dtype=getattr(torch, SETTINGS["dtype"]),
        attn_implementation=SETTINGS["attention"],
        device_map=SETTINGS["device_map"],
        quantization_config=transformers.BitsAndBytesConfig(**quantized) if quantized else None,
    ).eval()


def answers(model, tokenizer, texts):
    """One value a text: a vector, or the text made."""
    limits = {"padding": True, "truncation": True, "max_length": SETTINGS["input_tokens"]}
    batch = tokenizer(texts, return_tensors="pt", **limits).to(model.device)
    with torch.inference_mode():
        if SETTINGS["output_tokens"] == 0:
            # the first token's vector; some models are trained for the mean of all
            return model(**batch).last_hidden_state[:, 0].float().tolist()
        made = model.generate(**batch, max_new_tokens=SETTINGS["output_tokens"])
    prompt = 0 if model.config.is_encoder_decoder else batch["input_ids"].shape[1]
    return tokenizer.batch_decode(made[:, prompt:], skip_special_tokens=True)


def work(model, tokenizer, waiting):
    """Answers what waits, at most the plan's batch at a time."""
    while True:
        asked = [waiting.get()]
        try:
            while len(asked) < SETTINGS["batch"]:
                asked.append(waiting.get(timeout=WAIT_S))
        except queue.Empty:
            pass
        try:
            for (_, future), answer in zip(asked, answers(model, tokenizer, [text for text, _ in asked]), strict=True):
                future.set_result(answer)
        except RuntimeError as err:
            for _, future in asked:
                future.set_exception(err)


def handler(waiting):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.path == "/health" else 404)
            self.end_headers()

        def do_POST(self):
            length = int(self.headers.get("Content-Length", "0"))
            try:
                text = json.loads(self.rfile.read(length))["text"] if 0 < length <= MAX_BODY_BYTES else None
            except (ValueError, KeyError, TypeError):
                text = None
            if not isinstance(text, str):
                self.send_error(400)
                return
            future = Future()
            waiting.put((text, future))
            try:
                body, status = json.dumps(future.result()).encode(), 200
            except RuntimeError as err:
                body, status = json.dumps({"error": str(err)}).encode(), 500
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(body)

    return Handler


def main():
    tokenizer = transformers.AutoTokenizer.from_pretrained(SETTINGS["model"], padding_side=SETTINGS["padding_side"])
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    waiting = queue.Queue()
    threading.Thread(target=work, args=(loaded(), tokenizer, waiting), daemon=True).start()
    ThreadingHTTPServer(("0.0.0.0", SETTINGS["port"]), handler(waiting)).serve_forever()


if __name__ == "__main__":
    main()
