#!/usr/bin/env python3
"""Set AIVT up in `.venv`, then hand over to the `aivt` command inside it.

    python scripts/aivt.py up      what the show needs is installed, then the show starts
    python scripts/aivt.py test    what the tests need is installed, then ruff, mypy and the tests run

Nothing but the standard library is there yet. Python 3.6 must still be able to read this file, so that an
old Python gets one helpful line instead of a SyntaxError: hence the quoted annotations.

A stamp, written last, lists what was installed. A start that finds it true hands over at once; an
installation that was interrupted, damaged or moved is noticed by it and made anew.
"""

import ast
import contextlib
import hashlib
import importlib.util
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path
from typing import Any, Iterator, NamedTuple  # noqa: UP035 - Python 3.6 could not subscript the other one

ROOT = Path(__file__).resolve().parent.parent
LOCK = "requirements.lock"
DEV_LOCK = "requirements-dev.lock"
CUDA_LOCK = "requirements-cuda.lock"
TURN_LIMIT_S = 1800  # a slow line needs many minutes for the packages
STAMP = "aivt-stamp.json"
STAMP_FORMAT = 1  # raise it when a healthy .venv of an older aivt.py must be made anew
STDERR = 2  # its file descriptor
BIN, EXE = ("Scripts", ".exe") if os.name == "nt" else ("bin", "")

# pip is left out of the listing: upgrading it, as it keeps asking for, is not damage.
UNLISTED = re.compile(r"__pycache__|aivt-stamp\.json|pip|pip-.*\.dist-info")
# Variables that would send Python, pip or uv to another environment than .venv.
FOREIGN = {
    "PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV", "CONDA_PREFIX",
    "PIP_USER", "PIP_TARGET", "PIP_PREFIX", "UV_SYSTEM_PYTHON",
}  # fmt: skip
# uv does not read pip's configuration; these are the parts of it that say where packages come from.
PIP_TO_UV = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "trusted-host": "UV_INSECURE_HOST",
    "cert": "SSL_CERT_FILE",
}
OFFLINE_FIX = "Check the internet connection (or the package mirror set for pip or uv), then start again."


class SetupError(Exception):
    """Why AIVT cannot start, with what mends it. exit_code: 3 something is missing, 1 anything else."""

    def __init__(self, reason: str, fix: str, exit_code: int = 3) -> None:
        super().__init__(f"{reason} {fix}")
        self.reason = reason
        self.fix = fix
        self.exit_code = exit_code


def say(text: str) -> None:
    """Print to stderr: stdout belongs to the command that AIVT hands over to, and may be JSON."""
    print(f"AIVT: {text}", file=sys.stderr, flush=True)


# --- Can AIVT run here? -------------------------------------------------------------------------------


class Machine(NamedTuple):
    """What decides whether every dependency has a wheel for this Python."""

    version: "tuple[int, int]"  # (3, 12)
    implementation: str  # "CPython"
    pointer_bits: int  # of this Python, which may be less than the processor's
    build: str  # "win-amd64", "linux-x86_64", "macosx-11.0-arm64": the system that this Python was built for
    processor: str  # "arm64"; a universal2 build of macOS does not tell which half of it runs
    libc: "tuple[str, str]"  # ("glibc", "2.36"); ("", "") where it is another
    macos: str  # "14.5"; "" elsewhere
    free_threaded: bool


def this_machine() -> Machine:
    """Describe the Python that runs this file."""
    return Machine(
        version=sys.version_info[:2],
        implementation=platform.python_implementation(),
        pointer_bits=64 if sys.maxsize > 2**32 else 32,
        build=sysconfig.get_platform(),
        processor=platform.machine(),
        libc=platform.libc_ver(),
        macos=platform.mac_ver()[0],
        free_threaded=bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
    )


def refusal(machine: Machine) -> str:
    """Return one line saying what was found and what to install, or "" where AIVT runs."""
    wrong = wrong_python(machine)
    if wrong:
        if machine.build.startswith("linux"):
            install = "Install python3.13 with your package manager and start this file with it."
        else:
            install = "Install Python 3.13 (64-bit) from python.org and start this file with it."
        return f"needs 64-bit CPython 3.11 to 3.14, and this is {wrong}. {install}"
    return wrong_system(machine)


def wrong_python(machine: Machine) -> str:
    """Return what kind of Python this is, or "" if AIVT can run on it."""
    name = "{} {}.{}".format(machine.implementation, *machine.version)
    if not (3, 11) <= machine.version <= (3, 14) or machine.implementation != "CPython":
        return name
    if machine.pointer_bits != 64:
        return f"a {machine.pointer_bits}-bit {name}"
    if machine.free_threaded:
        return f"a free-threaded {name}"
    if machine.build.startswith("mingw"):
        return f"{name} of MSYS2 ({machine.build})"
    return ""


def wrong_system(machine: Machine) -> str:
    """Return the line about an operating system or processor that AIVT does not run on, or ""."""
    system = machine.build.partition("-")[0]
    if system == "win":
        fine = machine.build == "win-amd64"
        install = "Install the x64 Python 3.13 from python.org; Windows on ARM runs it too."
    elif system == "linux":
        # onnxruntime and numpy have wheels from glibc 2.28 on (Debian 10, Ubuntu 20.04, RHEL 8).
        glibc = machine.libc[0] == "glibc" and tuple(map(int, machine.libc[1].split("."))) >= (2, 28)
        fine = glibc and machine.processor in {"x86_64", "aarch64"}
        install = "Install a Linux with glibc 2.28 or newer, such as Debian, Ubuntu or Fedora."
    elif system == "macosx":
        fine = machine.processor == "arm64" and int(machine.macos.partition(".")[0] or 0) >= 14
        install = "On an Apple silicon Mac install macOS 14 or newer and the arm64 Python from python.org."
    else:
        fine = False
        install = "Install it on one of those."
    if fine:
        return ""
    parts = [
        machine.build,
        machine.processor,
        " ".join(machine.libc),
        machine.macos and f"macOS {machine.macos}",
    ]
    found = ", ".join(dict.fromkeys(part for part in parts if part.strip()))
    return (
        f"runs on Windows x64, Linux with glibc 2.28+ (x86_64, aarch64) and macOS 14+ (arm64), "
        f"and this is {found}. {install}"
    )


# --- Is what was installed still there? ---------------------------------------------------------------


def environment_key(root: Path) -> "dict[str, Any]":
    """Return what a .venv is bound to for its whole life. Its scripts hold the folder's absolute path."""
    return {
        "format": STAMP_FORMAT,
        "folder": os.path.realpath(root),
        "Python": "{}-{}.{}".format(sysconfig.get_platform(), *sys.version_info),
    }


def content_hashes(root: Path, locks: "list[str]") -> "dict[str, str]":
    """Return the SHA-256 of each file that says what is to be installed, by its name."""
    try:
        return {
            name: hashlib.sha256((root / name).read_bytes()).hexdigest()
            for name in ["pyproject.toml", *locks]
        }
    except FileNotFoundError as error:
        raise SetupError(f"{error.filename} is missing.", "Get it back with: git checkout -- .") from error


def listing(venv: Path) -> "dict[str, int]":
    """Return every installed file's size in bytes, by its path inside `venv`.

    Sizes alone find what goes wrong in practice (a file deleted, emptied or cut short) at a twentieth of
    the cost of reading 8,000 files. Bytecode comes and goes by itself, so it does not count.
    """
    sizes = {}
    folders = [""]
    while folders:
        inside = folders.pop()
        with os.scandir(venv / inside) as entries:
            for entry in entries:
                if UNLISTED.fullmatch(entry.name):
                    continue
                path = f"{inside}{entry.name}"
                if entry.is_dir(follow_symlinks=False):
                    folders.append(f"{path}/")
                else:
                    sizes[path] = entry.stat(follow_symlinks=False).st_size
    return sizes


def stamp_path(root: Path) -> Path:
    return root / ".venv" / STAMP


def read_stamp(root: Path) -> "dict[str, Any]":
    """Return what write_stamp wrote, or {} if no installation was finished."""
    return read(stamp_path(root))


def read(path: Path) -> "dict[str, Any]":
    """Return the stamp in `path`, or {} if there is none that is whole."""
    try:
        stamp = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def write_stamp(root: Path, contents: "dict[str, str]") -> None:
    """Declare the installation finished."""
    stamp = {"key": environment_key(root), "contents": contents, "files": listing(root / ".venv")}
    write(stamp_path(root), stamp)


def write(path: Path, stamp: "dict[str, Any]") -> None:
    """Write a stamp: all at once, or not at all."""
    unfinished = path.with_suffix(".new")
    unfinished.write_text(json.dumps(stamp), encoding="utf-8")
    unfinished.replace(path)


def damage(root: Path, stamp: "dict[str, Any]") -> str:
    """Return why .venv has to be made anew, or "" if it is whole."""
    venv = root / ".venv"
    if not venv.exists():
        return "first start in this folder"
    if not stamp:
        return "the last installation did not finish"
    key = environment_key(root)
    if stamp.get("key") != key:
        now_differs = [name for name in key if stamp.get("key", {}).get(name) != key[name]]
        return f".venv was made for another {' and '.join(now_differs)}"
    if not interpreter_exists(venv):
        return "the Python that .venv was made with is gone"
    here = listing(venv)
    for path, size_bytes in stamp["files"].items():
        if here.get(path) != size_bytes:
            return f".venv/{path} is {'damaged' if path in here else 'missing'}"
    return ""


def interpreter_exists(venv: Path) -> bool:
    """Tell whether the Python behind `venv` is still installed."""
    python = venv / BIN / f"python{EXE}"
    if python.is_symlink():
        return python.exists()
    # On Windows it is a small program that starts the one which the configuration names.
    try:
        config = (venv / "pyvenv.cfg").read_text(encoding="utf-8")
    except (OSError, ValueError):
        return False
    base = re.search(r"^executable *= *(.+)$", config, re.MULTILINE)
    return python.exists() and base is not None and Path(base.group(1).strip()).exists()


# --- Installing ---------------------------------------------------------------------------------------


def requirement(name: str, lock_text: str) -> str:
    """Return the lines of a lock file that pin `name`, with its hashes."""
    found = re.search(rf"^{re.escape(name)}==(?:.*\\\n)*.*\n?", lock_text, re.MULTILINE)
    if not found:
        raise SetupError(f"{LOCK} does not pin {name}.", f"Get it back with: git checkout -- {LOCK}")
    return found.group()


def clean_environment() -> "dict[str, str]":
    """Return the user's variables (mirrors, certificates, proxies) without those that name another Python."""
    variables = {name: value for name, value in os.environ.items() if name not in FOREIGN}
    # uv writes this folder's path into a .pth file in UTF-8. Python 3.11 and 3.12 on Windows would read
    # it in the ANSI code page, and not find AIVT in C:\Users\Jürgen.
    variables.setdefault("PYTHONUTF8", "1")
    return variables


def mirrors(pip_config: str) -> "dict[str, str]":
    """Turn `pip config list` into uv's variables; of several values for one setting pip takes the last."""
    found = {}
    for name, value in re.findall(r"^[\w:]+\.([\w-]+)=(.+)$", pip_config, re.MULTILINE):
        if name in PIP_TO_UV:
            separator = "," if name == "find-links" else " "
            found[PIP_TO_UV[name]] = separator.join(str(ast.literal_eval(value)).split())
    return found


class Installer:
    """Makes or updates one project's .venv."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.venv = root / ".venv"
        self.python = str(self.venv / BIN / f"python{EXE}")
        self.variables = clean_environment()

    def run(self, step: str, command: "list[str]", fix: str, *, shown: bool = False) -> str:
        """Announce and run one step, and return what it printed. Raises SetupError with `fix` if it fails.

        shown: what it prints, its progress, goes to stderr at once, and "" is returned.
        """
        say(step)
        result = subprocess.run(
            command,
            cwd=self.root,
            env=self.variables,
            stdin=subprocess.DEVNULL,  # it belongs to the command that AIVT hands over to
            stdout=STDERR if shown else subprocess.PIPE,
            stderr=subprocess.STDOUT,
            close_fds=False,  # see only_installer
            check=False,
        )
        output = str(result.stdout or b"", "utf-8", "replace").strip()
        if result.returncode:
            if not shown:
                print(output, file=sys.stderr)
            raise SetupError(f"{step} failed (exit code {result.returncode}, its output is above).", fix)
        return output

    def make_environment(self) -> None:
        """Replace .venv by an empty one."""
        if not importlib.util.find_spec("venv") or not importlib.util.find_spec("ensurepip"):
            version = "{}.{}".format(*sys.version_info)
            raise SetupError(
                f"This Python {version} cannot make a virtual environment.",
                f"Install the missing part: sudo apt install python3-venv (or python{version}-venv).",
            )
        discard(self.venv)
        # Inside an activated .venv, sys.executable has just been deleted; this is the Python behind it.
        python = getattr(sys, "_base_executable", "") or sys.executable
        self.run(
            f"making .venv with Python {platform.python_version()}",
            [python, "-I", "-m", "venv", str(self.venv)],
            "Reinstall this Python from python.org or your package manager, then start again.",
        )

    def install(self, locks: "list[str]") -> None:
        """Install what `locks` pin, and the project itself as editable."""
        lock_text = (self.root / LOCK).read_text(encoding="utf-8")
        self.install_uv(requirement("uv", lock_text))
        self.use_pips_mirrors()
        uv = [str(self.venv / BIN / f"uv{EXE}"), "pip", "install", "--python", self.python]
        count = len(re.findall(r"^[\w.-]+==", lock_text, re.MULTILINE))
        self.run(
            f"installing about {count} packages (takes a few minutes on a slow line)",
            [
                *uv,
                "--require-hashes",
                "--only-binary=:all:",
                "--compile-bytecode",
                # A hard link would carry damage from .venv into uv's cache, and back at the next repair.
                "--link-mode=copy",
                # Whichever index has the file with the right hash will do, as with pip.
                "--index-strategy=unsafe-best-match",
                *[f"--requirements={self.root / name}" for name in locks],
            ],
            OFFLINE_FIX,
        )
        # uv contains the build backend itself, so this step needs no network.
        self.run(
            "installing AIVT itself",
            [*uv, "--no-deps", "--offline", "--editable", "."],
            "Undo changes to pyproject.toml, or close the AIVT that still runs, then start again.",
        )

    def install_cuda(self) -> None:
        """Make the folder of CUDA's libraries hold what their lock pins, and nothing else."""
        folder = cuda_folder(self.root)
        self.use_pips_mirrors()
        self.run(
            "installing CUDA's libraries",
            [
                *[str(self.venv / BIN / f"uv{EXE}"), "pip", "sync", "--python", self.python],
                f"--target={folder}",
                "--require-hashes",
                "--only-binary=:all:",
                # Gigabytes: a cache beside them can be linked instead of copied, keeps finished downloads
                # after a failure, and is deleted at the end.
                f"--cache-dir={cuda_cache(self.root)}",
                "--link-mode=hardlink",
                "--index-strategy=unsafe-best-match",
                str(self.root / CUDA_LOCK),
            ],
            "Close every AIVT, check the internet connection and the free disk space, then start again: "
            "finished downloads are kept.",
            shown=True,
        )

    def install_uv(self, pin: str) -> None:
        """Install the very uv that the lock pins, checked against its hashes by pip."""
        with tempfile.TemporaryDirectory(prefix="aivt-") as folder:
            pin_file = Path(folder) / "uv.txt"
            pin_file.write_text(pin, encoding="utf-8")
            pip = [self.python, "-m", "pip", "--disable-pip-version-check", "install", "--no-deps"]
            self.run(
                f"installing {pin.split(maxsplit=1)[0]}",
                [*pip, "--require-hashes", "--only-binary=:all:", "-r", str(pin_file)],
                OFFLINE_FIX,
            )

    def use_pips_mirrors(self) -> None:
        """Hand the package sources that the user set for pip to uv, unless uv has its own."""
        indexes = {"UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_CONFIG_FILE"}
        if not indexes & self.variables.keys():
            config = self.run(
                "reading pip's settings", [self.python, "-m", "pip", "config", "list"], OFFLINE_FIX
            )
            self.variables = {**mirrors(config), **self.variables}


def discard(folder: Path) -> None:
    """Delete an environment. It is moved away first: one that is in use stays whole, because Windows
    refuses the move, and a deletion that is interrupted leaves nothing behind under the real name."""
    old = folder.with_name(f"{folder.name}-old")
    try:
        if old.exists():
            shutil.rmtree(old)
        if folder.is_symlink():
            folder.unlink()
        elif folder.exists():
            folder.rename(old)
            shutil.rmtree(old)
    except OSError as error:
        raise SetupError(
            f"{folder.name} cannot be replaced ({error}).",
            "Close every AIVT, terminal and editor that uses it, then start again.",
            exit_code=1,
        ) from error


# --- CUDA's libraries, for those who asked for them with `aivt setup cuda` ------------------------------


def cuda_folder(root: Path) -> Path:
    """Return where they lie, complete if a stamp lies with them.

    Not in .venv: onnxruntime's build for CUDA consists of the same files as its other build, and would be
    overwritten by it at the next update. apps/shared/cuda.py puts this folder first on the path of a worker
    that is to use the graphics card. Besides, a new .venv costs no gigabytes again.
    """
    return root / ".venv-cuda"


def cuda_cache(root: Path) -> Path:
    return root / ".venv-cuda-cache"


def cuda_stamp(root: Path) -> "dict[str, Any]":
    """Return what the stamp says when all is well: which Python, which lock, each file's size in bytes."""
    return {
        "Python": environment_key(root)["Python"],
        "lock": content_hashes(root, [CUDA_LOCK])[CUDA_LOCK],
        "files": listing(cuda_folder(root)),
    }


def cuda_is_ready(root: Path) -> bool:
    """Tell whether CUDA's libraries are whole and are what their lock pins."""
    folder = cuda_folder(root)
    return folder.exists() and read(folder / STAMP) == cuda_stamp(root)


def set_up_cuda(root: Path) -> None:
    """Install CUDA's libraries, or bring them up to date. Raises SetupError."""
    folder = cuda_folder(root)
    if folder.exists():
        stamp, wanted = read(folder / STAMP), cuda_stamp(root)
        if any(stamp.get(name) != wanted[name] for name in ("Python", "files")):
            discard(folder)  # uv takes what is half there, or was built for another Python, for installed
        else:
            (folder / STAMP).unlink()
    for unfinished in cuda_cache(root).glob(".tmp*"):  # a killed uv leaves it, and would not go on with it
        shutil.rmtree(unfinished, ignore_errors=True)
    Installer(root).install_cuda()
    write(folder / STAMP, cuda_stamp(root))
    shutil.rmtree(cuda_cache(root), ignore_errors=True)  # in vain on Windows while a scanner looks into it


# --- Two terminals at once ----------------------------------------------------------------------------


@contextlib.contextmanager
def only_installer(guard: int) -> "Iterator[None]":
    """Hold .venv while it is changed; a second terminal waits, and says so.

    The lock lies on this very file, opened as `guard`, so nothing is created and nothing left behind. The
    installer's children inherit it: one that a kill has orphaned still counts. Raises SetupError.
    """
    os.set_inheritable(guard, True)
    deadline = time.monotonic() + TURN_LIMIT_S
    waiting = False
    while not try_lock(guard):
        if time.monotonic() > deadline:
            raise SetupError("Another AIVT has been installing for too long.", "End it, then start again.", 1)
        if not waiting:
            say("another AIVT installs in this folder: waiting until it has finished")
            waiting = True
        time.sleep(0.2)
    try:
        yield
    finally:
        os.close(guard)


def try_lock(guard: int) -> bool:
    """Lock an open file if nobody else holds it."""
    try:
        if sys.platform == "win32":
            import msvcrt  # noqa: PLC0415 - exists on Windows only

            os.lseek(
                guard, 1 << 30, os.SEEK_SET
            )  # far behind the end: a locked byte cannot be read by others
            msvcrt.locking(guard, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl  # noqa: PLC0415 - does not exist on Windows

            fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


# --- The order of it all ------------------------------------------------------------------------------


def is_ready(root: Path, locks: "list[str]") -> bool:
    """Tell whether .venv is whole and holds what `locks` pin. It may hold more."""
    stamp = read_stamp(root)
    wanted = content_hashes(root, locks)
    return stamp.get("contents", {}).items() >= wanted.items() and not damage(root, stamp)


def set_up(root: Path, locks: "list[str]") -> None:
    """Install what is missing. A whole .venv is only updated, so that packages of the user's own stay."""
    stamp = read_stamp(root)
    reason = damage(root, stamp)
    # What an earlier `test` installed stays in step when only `up` is asked for.
    earlier = [] if reason else [name for name in stamp["contents"] if name in {LOCK, DEV_LOCK}]
    all_locks = list(dict.fromkeys([*locks, *earlier]))
    contents = content_hashes(root, all_locks)
    installer = Installer(root)
    say(f"setting up: {reason or 'the list of packages has changed'}")
    if reason:
        installer.make_environment()
    else:
        stamp_path(root).unlink()
    installer.install(all_locks)
    write_stamp(root, contents)
    if read(cuda_folder(root) / STAMP) and not cuda_is_ready(root):
        try:
            set_up_cuda(root)
        except SetupError as error:  # no reason to keep the show from starting
            say(f"{error.reason} The processor does the work until this succeeds: aivt setup cuda")
    say("set up")


def hand_over(root: Path, arguments: "list[str]") -> int:
    """Become `aivt ARGUMENTS`, or run it and return its exit code where a process cannot become another."""
    command = [str(root / ".venv" / BIN / f"aivt{EXE}"), *arguments]
    if sys.platform != "win32":
        os.execve(command[0], command, clean_environment())  # noqa: S606 - no shell is the aim
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C reaches the child too, which ends in order
    return subprocess.call(command, env=clean_environment())


def main(arguments: "list[str]") -> int:
    """Check, install if needed, hand over. Returns the exit code."""
    refused = refusal(this_machine())
    if refused:
        say(refused)
        return 3
    locks = [LOCK, DEV_LOCK] if arguments[:1] == ["test"] else [LOCK]
    try:
        if not is_ready(ROOT, locks):
            with only_installer(os.open(__file__, os.O_RDONLY)):
                if not is_ready(ROOT, locks):  # another terminal may have done it meanwhile
                    set_up(ROOT, locks)
    except SetupError as error:
        say(str(error))
        return error.exit_code
    except OSError as error:
        say(f"cannot set up .venv: {error}. Free the disk space or the file it names, then start again.")
        return 1
    except KeyboardInterrupt:
        say("stopped. Start it again to finish setting up.")
        return 1
    return hand_over(ROOT, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
