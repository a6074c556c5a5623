import pytest

from apps.policy.models.licences import name_of
from tests.fakes.ollama_library import APACHE, GEMMA, LLAMA, RESEARCH


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (APACHE, "Apache-2.0"),
        (LLAMA.format(3.1, 3.1), "Llama 3.1 Community"),
        ("META LLAMA 3 COMMUNITY LICENSE AGREEMENT\nMeta Llama 3 Version", "Llama 3 Community"),
        (GEMMA, "Gemma terms"),
        (RESEARCH, "non-commercial (Qwen Research)"),
        ("# Mistral AI Research License\n\nIf You want to use", "non-commercial (Mistral Research)"),
        ("Creative Commons Attribution-NonCommercial 4.0 International", "non-commercial (CC-BY-NC)"),
        ("Microsoft.\nCopyright (c) Microsoft Corporation.\n\nMIT License\n\nPermission is hereby", "MIT"),
        ("DEEPSEEK LICENSE AGREEMENT\n\nVersion 1.0", "DeepSeek"),
        ("Tongyi Qianwen LICENSE AGREEMENT", "Qwen"),
        ("apache-2.0", "Apache-2.0"),
        ("mit", "MIT"),
        ("llama3.2", "Llama 3.2 Community"),
        ("gemma", "Gemma terms"),
        ("cc-by-nc-4.0", "non-commercial (CC-BY-NC)"),
        ("cc0-1.0", "cc0-1.0"),
        ("\n\n  The Fox Licence\nDo what you like.", "The Fox Licence"),
        ("x" * 200, "x" * 39 + "…"),
        ("", "not stated"),
        (" \n", "not stated"),
    ],
)
def test_a_licence_has_a_short_name(text, name):
    """From its first lines or its identifier; what forbids earning money says so first."""
    assert name_of(text) == name
