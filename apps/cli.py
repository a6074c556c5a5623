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
    "asr": "apps.asr_worker.worker",
    "policy": "apps.policy.worker",
    "tts": "apps.tts_worker.worker",
}

BENCHES = ("latency", "interrupt", "resources", "voices", "brains", "asr")


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
    """All commands and their options; `to` is where the command lives."""
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
    up.set_defaults(to="apps.orchestrator.supervisor:up")
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

    _add_console(commands)

    speak = commands.add_parser("speak", help="write what the voice makes of a text")
    speak.set_defaults(to="apps.tts_worker.speak:speak")
    speak.add_argument("text")
    speak.add_argument("-o", "--output", required=True, metavar="OUT.wav")
    speak.add_argument("--visemes", metavar="OUT.json", help="write the mouth shapes too")

    _add_ears(commands)
    _add_voices(commands.add_parser("voices", help="Piper voices: which there are, and getting one"))
    _add_model(commands.add_parser("model", help="language models: which there are, and getting one"))
    _add_setup(commands.add_parser("setup", help="install an optional part"))

    # With "-" as a prefix, argparse would take pytest's options for unknown ones of its own.
    test = commands.add_parser(
        "test", help="check the code and run the whole test suite", prefix_chars="+", add_help=False
    )
    test.set_defaults(to="scripts.suite:main")
    test.add_argument("arguments", nargs=argparse.REMAINDER, help="passed to pytest")

    bench = commands.add_parser("bench", help="measure this computer and this version")
    bench.set_defaults(to="scripts.bench.{}:main")
    bench.add_argument("what", choices=BENCHES)
    bench.add_argument("--json", action="store_true")
    bench.add_argument("--turns", type=int, default=0, help="how many turns (default: as the bars ask)")
    bench.add_argument("--real", action="store_true", help="latency: with your own model and voice")
    return top


def _add_console(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """What is asked of a running show."""
    say = commands.add_parser("say", help="put one line into the running show, and wait for her answer")
    say.set_defaults(to="apps.orchestrator.console:say")
    say.add_argument("text")
    say.add_argument("--user", default="streamer", help="who says it")
    say.add_argument(
        "--as", dest="lane", choices=("chat", "mention", "redeem", "operator"), default="operator"
    )
    say.add_argument("--json", action="store_true")

    status = commands.add_parser("status", help="what runs, and how it is")
    status.set_defaults(to="apps.orchestrator.console:status")
    status.add_argument("--json", action="store_true")

    replay = commands.add_parser("replay", help="play recorded chat and streamer audio into a rehearsal")
    replay.set_defaults(to="apps.orchestrator.replay:replay")
    replay.add_argument("--chat", metavar="FILE.jsonl", help='lines of {"t": seconds, "user", "text"}')
    replay.add_argument("--wav", metavar="FILE", help="what the streamer says")
    replay.add_argument("--speed", type=float, default=1.0, metavar="X", help="2: twice as fast")


def _add_ears(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    transcribe = commands.add_parser("transcribe", help="write down what a recording says, as she hears it")
    transcribe.set_defaults(to="apps.asr_worker.transcribe:transcribe")
    transcribe.add_argument("file", metavar="FILE.wav")
    transcribe.add_argument("--json", action="store_true", help="one line per partial and final transcript")
    transcribe.add_argument("--realtime", action="store_true", help="play it as a microphone would")

    devices = commands.add_parser("devices", help="microphones and loudspeakers")
    devices.set_defaults(to="apps.asr_worker.devices:devices")
    devices.add_argument("--json", action="store_true")
    devices.add_argument("--test", action="store_true", help="record 3 s, show level and words, play it back")


def _add_setup(setup: argparse.ArgumentParser) -> None:
    parts = setup.add_subparsers(dest="part", required=True, metavar="cuda | ears")
    cuda = parts.add_parser("cuda", help="libraries for ears and voices on an NVIDIA card")
    cuda.set_defaults(to="scripts.setup_cuda:main")
    cuda.add_argument("--force", action="store_true", help="also without an NVIDIA driver")
    ears = parts.add_parser("ears", help="a speech recognition model")
    ears.set_defaults(to="apps.asr_worker.models.command:setup_ears")
    ears.add_argument("--model", default="", metavar="NAME", help="another one than the recommended")
    ears.add_argument("--list", action="store_true", help="which there are, with size and languages")
    ears.add_argument("--json", action="store_true", help="the list for programs")


def _add_voices(voices: argparse.ArgumentParser) -> None:
    voices.set_defaults(to="apps.tts_worker.catalogue.command:voices")
    voices.add_argument("--language", default="", metavar="en", help="only voices of this language")
    voices.add_argument("--download", nargs="+", default=[], metavar="NAME", help="get these voices")
    voices.add_argument("--json", action="store_true")
    actions = voices.add_subparsers(dest="action", metavar="bench | use NAME")
    bench = actions.add_parser("bench", help="compare the installed voices on this computer")
    bench.set_defaults(to="apps.tts_worker.measure:bench")
    bench.add_argument("--json", action="store_true", default=argparse.SUPPRESS)  # or it would undo ours
    use = actions.add_parser("use", help="switch the voice of the running show")
    use.set_defaults(to="apps.orchestrator.console:use_voice")
    use.add_argument("name", help="an installed voice, or espeak; '' leaves it to the persona")


def _add_model(model: argparse.ArgumentParser) -> None:
    actions = model.add_subparsers(dest="action", required=True, metavar="status | list | pull NAME")
    what = {"status": "what answers, and what runs where", "list": "models for this computer"}
    for name, told in what.items():
        action = actions.add_parser(name, help=told)
        action.set_defaults(to=f"apps.policy.models.command:model_{name}")
        action.add_argument("--json", action="store_true")
    pull = actions.add_parser("pull", help="get a model through Ollama")
    pull.set_defaults(to="apps.policy.models.command:model_pull")
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
    if options.command == "run":
        _run(options)
        return 0
    what = getattr(options, "what", "")
    if what == "latency" and options.real:
        what = "real"
    module, _, function = options.to.format(what).partition(":")
    result: int | None = getattr(import_module(module), function)(options)
    return result


def _run(options: argparse.Namespace) -> None:
    from apps.shared.process import settings_and_logs, until_stopped  # noqa: PLC0415

    settings = settings_and_logs(options.name)
    work = import_module(PROCESSES[options.name]).run(settings, options)
    asyncio.run(until_stopped(work, supervised=options.supervised))


if __name__ == "__main__":
    sys.exit(main())
