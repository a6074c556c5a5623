"""The front door: what it refuses, what it notices, what it installs, and how it hands over."""

import ast
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from types import ModuleType

import pytest

PROJECT = Path(__file__).parents[2]
SCRIPT = PROJECT / "scripts" / "aivt.py"


def load(path: Path = SCRIPT) -> ModuleType:
    spec = importlib.util.spec_from_file_location("front_door", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


aivt = load()
LINUX = aivt.Machine((3, 12), "CPython", 64, "linux-x86_64", "x86_64", ("glibc", "2.36"), "", False)
WINDOWS = LINUX._replace(build="win-amd64", processor="AMD64", libc=("", ""))
MAC = LINUX._replace(build="macosx-11.0-arm64", processor="arm64", libc=("", ""), macos="14.5")


@pytest.mark.parametrize(
    "machine",
    [
        LINUX,
        LINUX._replace(version=(3, 11)),
        LINUX._replace(version=(3, 14)),
        LINUX._replace(libc=("glibc", "2.28")),
        LINUX._replace(build="linux-aarch64", processor="aarch64"),
        WINDOWS,
        WINDOWS._replace(processor="ARM64"),  # the x64 Python, emulated
        MAC,
        MAC._replace(build="macosx-10.13-universal2", macos="26.1"),
    ],
)
def test_supported(machine):
    """AIVT starts wherever every dependency has a wheel."""
    assert aivt.refusal(machine) == ""


@pytest.mark.parametrize(
    ("machine", "found", "install"),
    [
        (LINUX._replace(version=(3, 6)), "CPython 3.6", "package manager"),
        (LINUX._replace(version=(3, 15)), "CPython 3.15", "package manager"),
        (LINUX._replace(implementation="PyPy"), "PyPy 3.12", "package manager"),
        (LINUX._replace(free_threaded=True), "free-threaded", "package manager"),
        (LINUX._replace(pointer_bits=32, build="linux-armv7l"), "32-bit", "package manager"),
        (WINDOWS._replace(version=(3, 10)), "CPython 3.10", "python.org"),
        (WINDOWS._replace(pointer_bits=32, build="win32"), "32-bit", "python.org"),
        (WINDOWS._replace(build="mingw_x86_64_ucrt"), "MSYS2", "python.org"),
        (WINDOWS._replace(build="win-arm64"), "win-arm64", "x64 Python"),
        (LINUX._replace(libc=("", "")), "linux-x86_64", "glibc"),
        (LINUX._replace(libc=("glibc", "2.27")), "glibc 2.27", "glibc 2.28"),
        (LINUX._replace(build="linux-riscv64", processor="riscv64"), "riscv64", "x86_64, aarch64"),
        (MAC._replace(macos="13.6"), "macOS 13.6", "macOS 14"),
        (MAC._replace(processor="x86_64"), "x86_64", "Apple silicon"),
        (LINUX._replace(build="freebsd-14.1-amd64", processor="amd64"), "freebsd", "Linux"),
    ],
)
def test_refused(machine, found, install):
    """Elsewhere one line says what was found and what to install."""
    line = aivt.refusal(machine)
    assert found in line
    assert install in line
    assert "\n" not in line


def test_refusal_is_one_line_and_exit_code_3(monkeypatch, capsys):
    """An old Python gets its line on stderr and exit code 3, and nothing is created."""
    monkeypatch.setattr(aivt, "this_machine", lambda: LINUX._replace(version=(3, 8)))
    assert aivt.main(["up"]) == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1


def test_this_machine_is_supported():
    """The machine that runs these tests is not refused."""
    assert aivt.refusal(aivt.this_machine()) == ""


def test_old_pythons_can_read_the_script():
    """Python 3.6 can parse the script and evaluate its annotations, which comes before the version check."""
    tree = ast.parse(SCRIPT.read_text(encoding="utf-8"), feature_version=(3, 6))
    annotations = [
        annotation
        for node in ast.walk(tree)
        for annotation in (getattr(node, "annotation", None), getattr(node, "returns", None))
        if annotation is not None
    ]
    assert annotations
    assert all(isinstance(annotation, ast.Name | ast.Constant) for annotation in annotations)


def test_standard_library_only():
    """The script imports nothing that a fresh Python lacks."""
    tree = ast.parse(SCRIPT.read_text(encoding="utf-8"))
    imported = {
        name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
        )
    }
    assert imported <= sys.stdlib_module_names


# --- The lock -----------------------------------------------------------------------------------------


def test_uv_requirement():
    """The pin of uv is found in the real lock with all of its hashes and nothing else."""
    first, *hashes = aivt.requirement("uv", (PROJECT / "requirements.lock").read_text()).splitlines()
    assert first.startswith("uv==")
    assert hashes
    assert all(line.strip().startswith("--hash=sha256:") for line in hashes)


def test_requirement_at_the_end_of_the_lock():
    """A pin is cut out exactly, also when it is the last one or has one hash."""
    lock = "uvicorn==1 \\\n    --hash=sha256:a\nuv==2 \\\n    --hash=sha256:b"
    assert aivt.requirement("uv", lock) == "uv==2 \\\n    --hash=sha256:b"
    assert aivt.requirement("uvicorn", lock) == "uvicorn==1 \\\n    --hash=sha256:a\n"


def test_lock_without_uv():
    """A lock that does not pin uv is refused with the command that restores it."""
    with pytest.raises(aivt.SetupError, match=r"git checkout -- requirements\.lock"):
        aivt.requirement("uv", "uvicorn==1 \\\n    --hash=sha256:a\n")


def test_pips_mirrors_become_uvs():
    """What pip's configuration says about sources reaches uv; the environment wins over files."""
    config = (
        "global.index-url='https://mirror.example/simple'\n"
        "global.extra-index-url='\\nhttps://a.example\\nhttps://b.example'\n"
        "global.timeout='60'\n"
        ":env:.index-url='https://nearer.example/simple'\n"
        ":env:.find-links='/one /two'\n"
    )
    assert aivt.mirrors(config) == {
        "UV_DEFAULT_INDEX": "https://nearer.example/simple",
        "UV_INDEX": "https://a.example https://b.example",
        "UV_FIND_LINKS": "/one,/two",
    }


def test_clean_environment(monkeypatch):
    """Another environment's variables are dropped; mirrors and certificates are kept."""
    for name in ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME", "PIP_USER", "UV_SYSTEM_PYTHON"):
        monkeypatch.setenv(name, "elsewhere")
    monkeypatch.setenv("UV_DEFAULT_INDEX", "https://mirror.example")
    monkeypatch.setenv("SSL_CERT_FILE", "ca.pem")
    variables = aivt.clean_environment()
    assert "elsewhere" not in variables.values()
    assert variables["UV_DEFAULT_INDEX"] == "https://mirror.example"
    assert variables["SSL_CERT_FILE"] == "ca.pem"


# --- The stamp ----------------------------------------------------------------------------------------


@pytest.fixture
def project(tmp_path):
    """A project folder with a real, empty environment in which `aivt` is a second name of Python."""
    root = tmp_path / "Kitsu's folder ☂"
    (root / "scripts").mkdir(parents=True)
    shutil.copy(SCRIPT, root / "scripts")
    (root / "pyproject.toml").write_text("[project]")
    (root / "requirements.lock").write_text("uv==1")
    (root / "requirements-dev.lock").write_text("pytest==9")
    (root / "requirements-cuda.lock").write_text("nvidia-cublas==13")
    venv.create(root / ".venv", with_pip=False, symlinks=os.name != "nt")
    programs = root / ".venv" / aivt.BIN
    shutil.copy(programs / f"python{aivt.EXE}", programs / f"aivt{aivt.EXE}", follow_symlinks=False)
    package = root / ".venv" / "site" / "numpy"
    package.mkdir(parents=True)
    (package / "core.py").write_text("x = 1")
    return root


def stamped(root: Path, *locks: str) -> Path:
    aivt.write_stamp(root, aivt.content_hashes(root, list(locks or [aivt.LOCK])))
    return root


def damage(root: Path) -> str:
    found: str = aivt.damage(root, aivt.read_stamp(root))
    return found


def test_finished_installation_is_ready(project):
    """After a finished installation the next start has nothing to do."""
    assert aivt.is_ready(stamped(project), [aivt.LOCK])


def test_no_environment_yet(project):
    """Without .venv the reason is the first start, not damage."""
    shutil.rmtree(project / ".venv")
    assert damage(project) == "first start in this folder"


def test_interrupted_installation(project):
    """An environment without its stamp was not finished."""
    assert "did not finish" in damage(project)
    assert not aivt.is_ready(project, [aivt.LOCK])


@pytest.mark.parametrize("contents", [b"", b"\0" * 40, b'{"key"', b"[]"])
def test_broken_stamp(project, contents):
    """A stamp that a power cut emptied, zeroed or cut short counts as none."""
    aivt.stamp_path(stamped(project)).write_bytes(contents)
    assert "did not finish" in damage(project)


def test_deleted_file(project):
    """One missing file is noticed and named."""
    (stamped(project) / ".venv" / "site" / "numpy" / "core.py").unlink()
    assert damage(project) == ".venv/site/numpy/core.py is missing"


def test_truncated_file(project):
    """One file cut short is noticed and named."""
    (stamped(project) / ".venv" / "site" / "numpy" / "core.py").write_text("x")
    assert damage(project) == ".venv/site/numpy/core.py is damaged"


@pytest.mark.parametrize("name", ["python", "aivt"])
def test_missing_program(project, name):
    """An environment without its interpreter or its `aivt` command is noticed."""
    (stamped(project) / ".venv" / aivt.BIN / f"{name}{aivt.EXE}").unlink()
    assert damage(project)


def test_uninstalled_base_python(project):
    """An environment whose Python has been uninstalled since is noticed."""
    stamped(project)
    python = project / ".venv" / aivt.BIN / f"python{aivt.EXE}"
    if python.is_symlink():
        python.unlink()
        python.symlink_to(project / "uninstalled")
    else:
        (project / ".venv" / "pyvenv.cfg").write_text(f"executable = {project / 'uninstalled'}\n")
    assert damage(project) == "the Python that .venv was made with is gone"


def test_base_python_of_a_copied_interpreter(project):
    """Where python is a copy, as on Windows, the configuration tells whether the real one is still there."""
    python = project / ".venv" / aivt.BIN / f"python{aivt.EXE}"
    python.unlink()
    python.write_bytes(b"the redirector")
    config = project / ".venv" / "pyvenv.cfg"
    config.write_text(f"home = here\nexecutable = {sys.executable}\n", encoding="utf-8")
    assert aivt.interpreter_exists(project / ".venv")
    config.write_text(f"home = here\nexecutable = {project / 'gone'}\n", encoding="utf-8")
    assert not aivt.interpreter_exists(project / ".venv")
    config.unlink()
    assert not aivt.interpreter_exists(project / ".venv")


def test_moved_folder(project, tmp_path):
    """A moved project folder is noticed, because scripts in .venv hold the old path."""
    moved = stamped(project).rename(tmp_path / "moved")
    assert damage(moved) == ".venv was made for another folder"


def test_other_python(project, monkeypatch):
    """A start with another minor version of Python is noticed."""
    stamped(project)
    monkeypatch.setattr(sys, "version_info", (3, 10, 0, "final", 0))
    assert damage(project) == ".venv was made for another Python"


def test_additions_are_not_damage(project):
    """Packages of the user's own, bytecode and an upgraded pip leave the installation ready."""
    site = project / ".venv" / "site"
    (site / "pip-23.0.dist-info").mkdir()
    (site / "pip-23.0.dist-info" / "RECORD").write_text("old")
    stamped(project)
    shutil.rmtree(site / "pip-23.0.dist-info")
    (site / "my_engine.py").write_text("pass")
    (site / "numpy" / "__pycache__").mkdir()
    (site / "numpy" / "__pycache__" / "core.cpython-312.pyc").write_text("bytecode")
    assert aivt.is_ready(project, [aivt.LOCK])


@pytest.mark.parametrize("name", ["requirements.lock", "pyproject.toml"])
def test_changed_lock(project, name):
    """A new list of packages asks for an update of an environment that is otherwise whole."""
    (stamped(project) / name).write_text("changed")
    assert not aivt.is_ready(project, [aivt.LOCK])
    assert damage(project) == ""


def test_up_after_test_is_ready(project):
    """`up` uses what `test` installed; `test` after `up` still lacks the development tools."""
    stamped(project)
    assert not aivt.is_ready(project, [aivt.LOCK, aivt.DEV_LOCK])
    stamped(project, aivt.LOCK, aivt.DEV_LOCK)
    assert aivt.is_ready(project, [aivt.LOCK])


def test_missing_lock(project):
    """A missing lock file is named together with the command that restores it."""
    (project / aivt.LOCK).unlink()
    with pytest.raises(aivt.SetupError, match=r"requirements\.lock is missing.*git checkout"):
        aivt.is_ready(project, [aivt.LOCK])


# --- Setting up ---------------------------------------------------------------------------------------


@pytest.fixture
def installed(monkeypatch):
    """Stand in for the network: record what would be installed."""
    calls: list[object] = []
    monkeypatch.setattr(aivt.Installer, "make_environment", lambda _: calls.append("new environment"))
    monkeypatch.setattr(aivt.Installer, "install", lambda _, locks: calls.append(locks))
    return calls


def test_damaged_environment_is_made_anew(project, installed):
    """After damage a new environment is made, and is ready."""
    (stamped(project) / ".venv" / "site" / "numpy" / "core.py").unlink()
    aivt.set_up(project, [aivt.LOCK])
    assert installed == ["new environment", ["requirements.lock"]]
    assert aivt.is_ready(project, [aivt.LOCK])


def test_changed_lock_is_an_update(project, installed):
    """A changed lock is installed into the environment that is there, with the tools of an earlier `test`."""
    stamped(project, aivt.LOCK, aivt.DEV_LOCK)
    (project / aivt.LOCK).write_text("uv==2")
    aivt.set_up(project, [aivt.LOCK])
    assert installed == [["requirements.lock", "requirements-dev.lock"]]
    assert aivt.is_ready(project, [aivt.LOCK, aivt.DEV_LOCK])


def test_failed_update_leaves_no_stamp(project, monkeypatch):
    """An update that fails half-way is not taken for a finished installation."""
    stamped(project)
    (project / aivt.LOCK).write_text("uv==2")

    def fail(*_):
        raise aivt.SetupError("no network", "mend it")

    monkeypatch.setattr(aivt.Installer, "install", fail)
    with pytest.raises(aivt.SetupError):
        aivt.set_up(project, [aivt.LOCK])
    assert "did not finish" in damage(project)


# --- CUDA's libraries ---------------------------------------------------------------------------------


@pytest.fixture
def cuda(project, monkeypatch, installed):
    """Stand in for the gigabytes: what would be installed is a small file beside what is there."""

    def install(installer):
        installed.append("CUDA")
        folder = aivt.cuda_folder(installer.root)
        assert not (folder / aivt.STAMP).exists()  # half-installed must not look finished
        folder.mkdir(exist_ok=True)
        (folder / "libcublas.so").write_text("a library")

    monkeypatch.setattr(aivt.Installer, "install_cuda", install)
    return aivt.cuda_folder(stamped(project))


def test_cuda_is_installed_beside_the_environment(project, cuda, installed):
    """CUDA's libraries get a folder and a stamp of their own; the environment stays as it is."""
    aivt.set_up_cuda(project)
    assert installed == ["CUDA"]
    assert aivt.cuda_is_ready(project)
    assert aivt.is_ready(project, [aivt.LOCK])
    assert not cuda.is_relative_to(project / ".venv")


def test_no_cuda_for_those_who_did_not_ask(project, cuda, installed):
    """Setting up installs CUDA's libraries for nobody by itself."""
    (project / aivt.LOCK).write_text("uv==2")
    aivt.set_up(project, [aivt.LOCK])
    assert installed == [["requirements.lock"]]
    assert not aivt.cuda_is_ready(project)


def test_cuda_stays_in_step(project, cuda, installed):
    """A new version of AIVT brings CUDA's libraries up to date too, and only what has changed of them."""
    aivt.set_up_cuda(project)
    (cuda / "unchanged.so").write_text("as before")
    aivt.write(cuda / aivt.STAMP, aivt.cuda_stamp(project))
    for lock in (aivt.LOCK, aivt.CUDA_LOCK):
        (project / lock).write_text("newer")
    assert not aivt.cuda_is_ready(project)
    aivt.set_up(project, [aivt.LOCK])
    assert installed == ["CUDA", ["requirements.lock"], "CUDA"]
    assert aivt.cuda_is_ready(project)
    assert (cuda / "unchanged.so").exists()


def test_a_new_environment_keeps_cuda(project, cuda, installed):
    """A damaged environment is made anew without gigabytes being downloaded again."""
    aivt.set_up_cuda(project)
    (project / ".venv" / "site" / "numpy" / "core.py").unlink()
    aivt.set_up(project, [aivt.LOCK])
    assert installed == ["CUDA", "new environment", ["requirements.lock"]]
    assert aivt.cuda_is_ready(project)


@pytest.mark.parametrize(
    "damage", ["file deleted", "file cut short", "no stamp", "empty stamp", "another Python", "interrupted"]
)
def test_damaged_cuda_is_made_anew(project, cuda, installed, damage):
    """Whatever is wrong with CUDA's libraries is noticed, and nothing of them is kept."""
    aivt.set_up_cuda(project)
    (cuda / "leftover.so").touch()
    aivt.write(cuda / aivt.STAMP, aivt.cuda_stamp(project))
    stamp = aivt.read(cuda / aivt.STAMP)
    match damage:
        case "file deleted":
            (cuda / "libcublas.so").unlink()
        case "file cut short":
            (cuda / "libcublas.so").write_text("a lib")
        case "no stamp":
            (cuda / aivt.STAMP).unlink()
        case "empty stamp":
            (cuda / aivt.STAMP).write_bytes(b"")
        case "another Python":
            aivt.write(cuda / aivt.STAMP, {**stamp, "Python": "linux-x86_64-3.10"})
        case "interrupted":
            (cuda / aivt.STAMP).unlink()
            (cuda / "libcublas.so").unlink()
    assert not aivt.cuda_is_ready(project)
    aivt.set_up_cuda(project)
    assert aivt.cuda_is_ready(project)
    assert not (cuda / "leftover.so").exists()


def test_cuda_does_not_keep_the_show_from_starting(project, cuda, monkeypatch, capsys):
    """When CUDA's libraries cannot be brought up to date, one line says so, and all else is ready."""
    aivt.set_up_cuda(project)
    for lock in (aivt.LOCK, aivt.CUDA_LOCK):
        (project / lock).write_text("newer")

    def fail(_):
        raise aivt.SetupError("installing CUDA's libraries failed.", "Mend it.")

    monkeypatch.setattr(aivt.Installer, "install_cuda", fail)
    capsys.readouterr()
    aivt.set_up(project, [aivt.LOCK])
    assert aivt.is_ready(project, [aivt.LOCK])
    assert not aivt.cuda_is_ready(project)
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "CUDA" in line]
    assert "failed" in line
    assert line.endswith("aivt setup cuda")


def test_a_failed_download_is_not_tried_at_every_start(project, cuda, installed, monkeypatch):
    """After a failure the next `up` leaves CUDA alone until it is asked for again."""
    aivt.set_up_cuda(project)
    (cuda / aivt.STAMP).unlink()
    (project / aivt.LOCK).write_text("newer")
    aivt.set_up(project, [aivt.LOCK])
    assert installed == ["CUDA", ["requirements.lock"]]


def test_finished_downloads_are_kept_after_a_failure(project, cuda, monkeypatch):
    """The cache outlives a failure, but not what was half downloaded into it."""
    cache = aivt.cuda_cache(project)
    for name in ("finished", ".tmpHalf"):
        (cache / name).mkdir(parents=True)

    def fail(_):
        raise aivt.SetupError("no network", "mend it")

    monkeypatch.setattr(aivt.Installer, "install_cuda", fail)
    with pytest.raises(aivt.SetupError):
        aivt.set_up_cuda(project)
    assert [entry.name for entry in cache.iterdir()] == ["finished"]


def test_the_cache_goes_when_all_is_installed(project, cuda):
    """Nothing lies on the disk twice."""
    (aivt.cuda_cache(project) / "finished").mkdir(parents=True)
    aivt.set_up_cuda(project)
    assert not aivt.cuda_cache(project).exists()


def test_how_cuda_is_installed(project, monkeypatch):
    """uv makes the folder hold exactly what the lock pins, checked by hashes, from wheels, linked."""
    steps = []
    installer = aivt.Installer(project)

    def run(step, command, fix, *, shown=False):
        steps.append((command, shown))
        return ":env:.index-url='https://mirror.example/simple'"

    monkeypatch.setattr(installer, "run", run)
    for name in ("UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_CONFIG_FILE"):
        installer.variables.pop(name, None)
    installer.install_cuda()
    (config, _), (command, shown) = steps
    assert config[-2:] == ["config", "list"]
    assert installer.variables["UV_DEFAULT_INDEX"] == "https://mirror.example/simple"
    assert shown
    assert command[1:3] == ["pip", "sync"]
    assert {"--require-hashes", "--only-binary=:all:", "--link-mode=hardlink"} <= set(command)
    assert f"--target={project / '.venv-cuda'}" in command
    assert command[-1] == str(project / "requirements-cuda.lock")


def test_progress_is_shown_at_once(project, capfd):
    """A long step's own output goes to stderr, and a failure still names the fix."""
    script = "print('half of it'); raise SystemExit(2)"
    with pytest.raises(aivt.SetupError, match=r"failed \(exit code 2.*Mend it"):
        aivt.Installer(project).run("installing", [sys.executable, "-c", script], "Mend it.", shown=True)
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("half of it") == 1


# --- What goes wrong ----------------------------------------------------------------------------------


def test_failed_step_shows_its_output_and_the_fix(project, capsys):
    """What a failed step printed is shown, and the error names the fix."""
    script = "print('no space left'); raise SystemExit(4)"
    with pytest.raises(aivt.SetupError, match=r"installing uv failed \(exit code 4.*Free some space"):
        aivt.Installer(project).run("installing uv", [sys.executable, "-c", script], "Free some space.")
    out, err = capsys.readouterr()
    assert out == ""
    assert "no space left" in err


def test_debian_without_venv(project, monkeypatch):
    """A Python without ensurepip, as Debian ships it, is told which package to install."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "ensurepip" else object())
    with pytest.raises(aivt.SetupError, match="apt install python3-venv") as caught:
        aivt.Installer(project).make_environment()
    assert caught.value.exit_code == 3


def test_environment_in_use_stays_whole(project, monkeypatch):
    """When Windows refuses to move a running environment away, it stays as it is and the fix is named."""
    stamped(project)

    def refuse(*_):
        raise PermissionError(13, "in use")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", refuse)
        with pytest.raises(aivt.SetupError, match="Close every AIVT") as caught:
            aivt.discard(project / ".venv")
    assert caught.value.exit_code == 1
    assert aivt.is_ready(project, [aivt.LOCK])


def test_discard_clears_an_interrupted_discard(project):
    """What an interrupted deletion left behind goes with the next one."""
    (project / ".venv-old").mkdir()
    aivt.discard(project / ".venv")
    assert not (project / ".venv").exists()
    assert not (project / ".venv-old").exists()


def test_second_terminal_waits(tmp_path):
    """While one terminal installs, a second one says that it waits, and goes on when the first is done."""
    door = shutil.copy(SCRIPT, tmp_path)
    code = (
        "import os, runpy, sys\n"
        "door = runpy.run_path(sys.argv[1], run_name='door')\n"
        "with door['only_installer'](os.open(sys.argv[1], os.O_RDONLY)):\n"
        "    print('my turn')\n"
    )
    with aivt.only_installer(os.open(door, os.O_RDONLY)):
        command = [sys.executable, "-c", code, door]
        second = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert second.stderr is not None
        assert "waiting" in second.stderr.readline()
    assert second.communicate()[0] == "my turn\n"


# --- Handing over -------------------------------------------------------------------------------------


def start(root: Path, cwd: Path, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(root / "scripts" / "aivt.py"), *arguments]
    return subprocess.run(command, cwd=cwd, input=stdin, capture_output=True, encoding="utf-8", check=False)


def test_arguments_streams_and_exit_code_pass_through(project, tmp_path):
    """The command gets its arguments, stdin and working directory; its stdout and exit code come back."""
    code = "import os, sys; print(sys.argv[1:], sys.stdin.read(), os.getcwd()); sys.exit(7)"
    result = start(stamped(project), tmp_path, "-c", code, "two words", "ü", stdin="a line")
    assert result.returncode == 7
    assert result.stdout == f"['two words', 'ü'] a line {tmp_path}\n"
    assert result.stderr == ""


def test_foreign_environment_does_not_confuse(project, tmp_path, monkeypatch):
    """The command runs in .venv whatever environment is activated in the terminal."""
    (tmp_path / "json.py").write_text("raise SystemExit('the wrong json')")
    monkeypatch.setenv("VIRTUAL_ENV", str(tmp_path))
    code = "import json, os, sys; print(sys.prefix, os.environ.get('PYTHONPATH'))"
    command = [sys.executable, "-I", str(project / "scripts" / "aivt.py"), "-c", code]
    variables = {**os.environ, "PYTHONPATH": str(tmp_path)}
    stamped(project)
    output = subprocess.run(command, env=variables, capture_output=True, encoding="utf-8", check=True).stdout
    assert output == f"{project / '.venv'} None\n"


def test_windows_leaves_ctrl_c_to_the_child(project, monkeypatch):
    """Where a process cannot become another, the parent ignores Ctrl+C and returns the child's exit code."""
    ignored = []
    monkeypatch.setattr(aivt.signal, "signal", lambda *handler: ignored.append(handler))
    monkeypatch.setattr(sys, "platform", "win32")
    assert aivt.hand_over(project, ["-c", "raise SystemExit(9)"]) == 9
    assert ignored == [(aivt.signal.SIGINT, aivt.signal.SIG_IGN)]


def test_stamp_holds_no_absolute_listing(project):
    """The listing is relative, with sizes in bytes, and leaves bytecode out."""
    stamp = json.loads(aivt.stamp_path(stamped(project)).read_text(encoding="utf-8"))
    assert stamp["files"]["site/numpy/core.py"] == 5
    assert not any("__pycache__" in path or str(project) in path for path in stamp["files"])
