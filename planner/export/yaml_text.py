"""YAML that readers of YAML 1.1 and 1.2 understand alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def yaml_text(*documents: Mapping[str, Any]) -> str:
    """Documents as YAML, keys in the order given.

    Strings stand in quotes, since `1e3`, `0o17` and `on` are numbers and truths to some readers.
    """
    import yaml

    class Dumper(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:
            return True

    def quoted(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else '"')

    def mapping(dumper: yaml.SafeDumper, items: dict[str, Any]) -> yaml.MappingNode:
        node = dumper.represent_mapping("tag:yaml.org,2002:map", items.items())
        for key, _ in node.value:
            key.style = None  # the emitter still quotes a key that reads as something else
        return node

    Dumper.add_representer(str, quoted)
    Dumper.add_representer(dict, mapping)
    many = len(documents) > 1
    return yaml.dump_all(documents, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=1000, explicit_start=many)
