"""The `aivt` command. Each command lives with its app; nothing of an app is imported before it is chosen."""

import argparse
import asyncio
import io
import sys
from importlib import import_module
from importlib.metadata import version

from apps.shared.edge import exit_code
from apps.shared.messages import MODULES

PROCESSES = {  # name -> the module whose `run(settings, options)` is the process
    "orchestrator": "apps.orchestrator.app",
    "policy": "apps.policy.worker",
    "tts": "apps.tts_worker.worker",
}


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit code (see apps.shared.errors)."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # her emoji, on a terminal or a pipe that has none
    options = parser().parse_args(arguments)
    if options.command is None:
        parser().print_help()
        return 0
    return exit_code(lambda: _command(options))


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    top = argparse.ArgumentParser(prog="aivt", description="A local, real-time AI VTuber.")
    top.add_argument("--version", action="version", version=f"aivt {version('aivt')}")
    # Set by the supervisor, and before the command so that each command line ends with `run NAME`.
    top.add_argument("--supervised", action="store_true", help=argparse.SUPPRESS)
    top.add_argument(
        "--without", dest="show_without", type=_modules, default=frozenset(), help=argparse.SUPPRESS
    )
    top.add_argument("--rehearsal", dest="show_rehearsal", action="store_true", help=argparse.SUPPRESS)
    commands = top.add_subparsers(dest="command", metavar="COMMAND", title="commands")

    up = commands.add_parser("up", help="start the show; Ctrl+C stops it")
    up.add_argument("--rehearsal", action="store_true", help="post nothing to Twitch")
    up.add_argument("--no-browser", action="store_true", help="do not open the control panel")
    up.add_argument(
        "--without",
        type=_modules,
        default=frozenset(),
        metavar="NAMES",
        help="leave these processes out: tts,policy",
    )

    run = commands.add_parser("run", help="run one process in the foreground")
    run.add_argument("name", choices=PROCESSES)

    say = commands.add_parser("say", help="put one line into the running show, and wait for her answer")
    say.add_argument("text")
    say.add_argument("--user", default="streamer", help="who says it")
    say.add_argument(
        "--as", dest="lane", choices=("chat", "mention", "redeem", "operator"), default="operator"
    )
    say.add_argument("--json", action="store_true")

    status = commands.add_parser("status", help="what runs, and how it is")
    status.add_argument("--json", action="store_true")

    speak = commands.add_parser("speak", help="write what the voice makes of a text")
    speak.add_argument("text")
    speak.add_argument("-o", "--output", required=True, metavar="OUT.wav")
    speak.add_argument("--visemes", metavar="OUT.json", help="write the mouth shapes too")

    _add_voices(commands.add_parser("voices", help="Piper voices: which there are, and getting one"))
    _add_model(commands.add_parser("model", help="language models: which there are, and getting one"))

    setup = commands.add_parser("setup", help="install an optional part")
    setup.add_argument("part", choices=("cuda",), help="libraries for ears and voices on an NVIDIA card")
    setup.add_argument("--force", action="store_true", help="also without an NVIDIA driver")

    # With "-" as a prefix, argparse would take pytest's options for unknown ones of its own.
    test = commands.add_parser(
        "test", help="check the code and run the whole test suite", prefix_chars="+", add_help=False
    )
    test.add_argument("arguments", nargs=argparse.REMAINDER, help="passed to pytest")

    bench = commands.add_parser("bench", help="measure this computer and this version")
    bench.add_argument("what", choices=("latency", "interrupt", "resources", "voices", "brains"))
    bench.add_argument("--json", action="store_true")
    bench.add_argument("--turns", type=int, default=0, help="how many turns (default: as the bars ask)")
    bench.add_argument("--real", action="store_true", help="latency: with your own model and voice")
    return top


def _add_voices(voices: argparse.ArgumentParser) -> None:
    voices.add_argument("--language", default="", metavar="en", help="only voices of this language")
    voices.add_argument("--download", nargs="+", default=[], metavar="NAME", help="get these voices")
    voices.add_argument("--json", action="store_true")
    actions = voices.add_subparsers(dest="action", metavar="bench | use NAME")
    bench = actions.add_parser("bench", help="compare the installed voices on this computer")
    bench.add_argument("--json", action="store_true", default=argparse.SUPPRESS)  # or it would undo ours
    use = actions.add_parser("use", help="switch the voice of the running show")
    use.add_argument("name", help="an installed voice, or espeak; '' leaves it to the persona")


def _add_model(model: argparse.ArgumentParser) -> None:
    actions = model.add_subparsers(dest="action", required=True, metavar="status | list | pull NAME")
    for name, what in (("status", "what answers, and what runs where"), ("list", "models for this computer")):
        actions.add_parser(name, help=what).add_argument("--json", action="store_true")
    pull = actions.add_parser("pull", help="get a model through Ollama")
    pull.add_argument("name", help="as in Ollama's library: llama3.1:8b")


def _modules(names: str) -> frozenset[str]:
    chosen = frozenset(name.strip() for name in names.split(",") if name.strip())
    if unknown := chosen - set(MODULES):
        raise argparse.ArgumentTypeError(
            f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(MODULES)}"
        )
    if "orchestrator" in chosen:
        raise argparse.ArgumentTypeError("there is no show without the orchestrator")
    return chosen


def _command(options: argparse.Namespace) -> int | None:
    match options.command:
        case "run":
            _run(options)
            return 0
        case "up":
            module, function = "apps.orchestrator.supervisor", "up"
        case "say" | "status":
            module, function = "apps.orchestrator.console", options.command
        case "test":
            module, function = "scripts.suite", "main"
        case "voices" if options.action == "bench":
            module, function = "apps.tts_worker.measure", "bench"
        case "voices" if options.action == "use":
            module, function = "apps.orchestrator.console", "use_voice"
        case "voices":
            module, function = "apps.tts_worker.catalogue.command", "voices"
        case "setup":
            module, function = "scripts.setup_cuda", "main"
        case "model":
            module, function = "apps.policy.models.command", f"model_{options.action}"
        case "speak":
            module, function = "apps.tts_worker.speak", "speak"
        case "bench" if options.real:
            module, function = "scripts.bench.real", "main"
        case _:
            module, function = f"scripts.bench.{options.what}", "main"
    result: int | None = getattr(import_module(module), function)(options)
    return result


def _run(options: argparse.Namespace) -> None:
    from apps.shared.process import settings_and_logs, until_stopped  # noqa: PLC0415

    settings = settings_and_logs(options.name)
    work = import_module(PROCESSES[options.name]).run(settings, options)
    asyncio.run(until_stopped(work, supervised=options.supervised))


if __name__ == "__main__":
    sys.exit(main())
