"""The short name of a model's licence, from its text or from the identifier in its file."""

import re

UNSTATED = "not stated"
HEAD_CHARS = 2000  # a licence says what it is at its beginning
NAME_CHARS = 40

# The first that matches counts. Those that forbid earning money say so first: a stream earns money.
_PATTERNS = (
    (r"\bllama ?([\d.]*\d)? ?(?:community license|$)", r"Llama \1 Community"),
    (r"\bgemma terms of use|^gemma$", "Gemma terms"),
    (r"\bqwen research license", "non-commercial (Qwen Research)"),
    (r"\bmistral ai (?:research|non-production) licen[sc]e", "non-commercial (Mistral Research)"),
    (r"\battribution-noncommercial|\bcc-by-nc", "non-commercial (CC-BY-NC)"),
    (r"\bapache license,? version 2\.0|^apache-2\.0$", "Apache-2.0"),
    (r"\bmit license|^mit$|\bpermission is hereby granted, free of charge", "MIT"),
    (r"\bdeepseek license", "DeepSeek"),
    (r"\b(?:tongyi qianwen|qwen) license", "Qwen"),
    (r"\bcreative commons attribution 4\.0|^cc-by-4\.0$", "CC-BY-4.0"),
)


def name_of(text: str) -> str:
    """Return a licence's short name; its first line when it is none of the well-known ones."""
    head = " ".join(text[:HEAD_CHARS].split()).lower()
    if not head:
        return UNSTATED
    for pattern, name in _PATTERNS:
        if found := re.search(pattern, head):
            return " ".join(found.expand(name).split())
    line = next(line.strip() for line in text.splitlines() if line.strip())
    return line if len(line) <= NAME_CHARS else f"{line[: NAME_CHARS - 1]}…"
