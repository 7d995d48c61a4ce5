"""Scripts for bash: every word quoted, every comment on its own line."""

from __future__ import annotations

import shlex
import unicodedata
from collections.abc import Iterable, Sequence

from planner.export.types import HEAD, RANK, Launch, Run

STRICT = "set -euo pipefail"


def comment(text: str) -> str:
    """One line that no shell, YAML or Python reader takes for anything else.

    >>> comment("a\\nrm -rf /")
    '# a rm -rf /'
    """
    return "# " + "".join(" " if unicodedata.category(c)[0] in "CZ" else c for c in text).strip()


def comments(lines: Iterable[str]) -> str:
    """Lines of comment, each with its line end."""
    return "".join(f"{comment(line)}\n" for line in lines)


def command_line(launch: Launch, *, indent: str = "  ") -> str:
    """The command, an option a line. Words of `shell_words` keep their variables."""
    free = frozenset(launch.shell_words)
    return _joined([w if w in free else shlex.quote(w) for w in launch.words], indent)


def _joined(words: Sequence[str], indent: str) -> str:
    lines: list[list[str]] = [[]]
    for word in words:
        if word.startswith("-") and word != "-m" and lines[-1]:
            lines.append([])
        lines[-1].append(word)
    return f" \\\n{indent}".join(" ".join(line) for line in lines)


def start(launch: Launch, run: Run) -> str:
    """The lines that set the environment and start the command on one node of a replica."""
    text = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in sorted(launch.environment.items()))
    if run.nodes == 1 or not launch.later_nodes:
        return text + f"exec {command_line(launch)}\n"
    extra = " ".join(shlex.quote(w) for w in launch.later_nodes)
    return (
        text
        + f'later=()\nif [ "${RANK}" -gt 0 ]; then later=({extra}); fi\nexec {command_line(launch)} "${{later[@]}}"\n'
    )


def required(launch: Launch, run: Run) -> str:
    """Lines that stop a script whose environment lacks something."""
    text = ""
    if run.nodes > 1:
        text += f': "${{{HEAD}:?host name or address of the first of {run.nodes} nodes}}"\n'
        text += f': "${{{RANK}:?number of this node, 0 to {run.nodes - 1}}}"\n'
    return text + settings_required(launch)


def settings_required(launch: Launch) -> str:
    """Lines that stop a script where the user has not set what only the user knows."""
    text = ""
    for need in launch.needs:
        name, _, what = need.partition(": ")
        text += f': "${{{name}:?{_plain(what)}}}"\nexport {name}\n'
    return text


def gpus_guard(run: Run) -> str:
    """Stops a script that would take GPUs of others."""
    if run.text("mig"):
        ask = f"{run.gpus} MIG device UUIDs of profile {run.text('mig')}, see nvidia-smi -L"
    elif run.node_gpus == run.gpus_per_node:
        return ""
    else:
        ask = f"the {run.gpus_per_node} GPUs of this replica, for example 0 or 0,1; the node is shared"
    return f': "${{CUDA_VISIBLE_DEVICES:?{_plain(ask)}}}"\nexport CUDA_VISIBLE_DEVICES\n'


def _plain(text: str) -> str:
    """Text that is safe inside `${NAME:?...}`."""
    return "".join(c for c in text if c.isalnum() or c in " .,;:/_-@()").strip()


def script(run: Run, launch: Launch, *, title: str) -> str:
    """A script that starts one node of one replica."""
    once = "Start this once for each replica" + (" and node" if run.nodes > 1 else "")
    beside = 'cd -- "$(dirname -- "${BASH_SOURCE[0]}")"\n' if launch.files else ""
    return (
        "#!/usr/bin/env bash\n"
        + comments([title, *about(run), once, *launch.notes])
        + f"{STRICT}\n{beside}{required(launch, run)}{gpus_guard(run)}"
        + start(launch, run)
    )


def about(run: Run) -> list[str]:
    """What the plan says of a run, for the head of a file."""
    gpus = f"{run.gpus} x {run.gpu}" + (f", part {run.text('mig')}" if run.text("mig") else "")
    nodes = f" over {run.nodes} nodes" if run.nodes > 1 else ""
    lines = [
        f"Workload {run.workload}: {run.model}",
        f"{run.replicas} replica(s), each {gpus}{nodes}, on {run.node} ({run.offer})",
    ]
    if run.when:
        lines.append(f"For {run.when}")
    if run.hours:
        lines.append(f"Runs from {', '.join(run.hours)}")
    if run.engine_version:
        lines.append(f"The plan rests on {run.engine} {run.engine_version}")
    return lines
