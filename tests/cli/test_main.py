"""Exit codes, messages and help."""

from __future__ import annotations

import subprocess
import sys

import pytest
from tests.cli.conftest import Fit50
from torch.distributed import DistNetworkError

from fit50.cli import verbs, zoo
from fit50.cli.main import dotted
from fit50.spec.errors import MissingExtraError, StorageError, UserError

VERBS = (
    *("optimize", "train", "morph", "prune", "probe", "quantize", "export"),
    *("inspect", "benchmark", "evaluate", "compare", "predict", "verify", "zoo", "report"),
)


def test_the_verbs_are_these() -> None:
    assert {name for name in verbs.app if not name.startswith("-")} == set(VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_an_example(fit50: Fit50, verb: str) -> None:
    ended = fit50(verb, "--help")
    assert ended.code == 0
    assert f"Example: fit50 {verb}" in ended.out
    assert "--json" in ended.out
    if verb in ("optimize", "train", "morph", "prune", "quantize", "export"):
        assert "--dry-run" in ended.out


@pytest.mark.parametrize("words", [(), ("--help",)])
def test_help_names_every_verb(fit50: Fit50, words: tuple[str, ...]) -> None:
    ended = fit50(*words)
    assert ended.code == 0
    assert all(verb in ended.out for verb in VERBS)


def test_the_version_is_printed(fit50: Fit50) -> None:
    from importlib.metadata import version

    assert fit50("--version").out.strip() == version("fit50")


@pytest.mark.parametrize("module", ["fit50.cli", "fit50.__main__"])
def test_the_command_line_starts_without_heavy_packages(module: str) -> None:
    heavy = "{'torch', 'numpy', 'scipy', 'PIL', 'openvino', 'onnxruntime', 'nncf', 'onnx', 'safetensors'}"
    code = f"import sys, {module}; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_help_starts_without_heavy_packages() -> None:
    code = (
        "import sys, contextlib\nfrom fit50.cli import main\n"
        "with contextlib.suppress(SystemExit): main(['optimize', '--help'])\n"
        "print(sorted({'torch', 'numpy', 'openvino', 'onnxruntime'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Example:" in done.stdout
    assert done.stderr.strip() == "[]"


def test_an_unknown_verb_is_the_users_mistake(fit50: Fit50) -> None:
    ended = fit50("optimise", "photos")
    assert ended.code == 2
    assert "optimise" in ended.err
    assert "optimize" in ended.err
    assert ended.err.startswith("error: ")
    assert "Traceback" not in ended.err


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("verify", "bundle", "--thread", "2"), "--thread"),
        (("verify",), "bundle"),
        (("predict", "bundle"), "images"),
        (("benchmark", "bundle", "--rounds", "many"), "many"),
        (("export", "model.safetensors", "--runtime", "tflite"), "tflite"),
        (("evaluate", "bundle", "photos", "--split", "all"), "all"),
    ],
)
def test_a_wrong_option_is_named(fit50: Fit50, words: tuple[str, ...], named: str) -> None:
    ended = fit50(*words)
    assert ended.code == 2
    assert named in ended.err.casefold()
    assert ended.err.startswith("error: ")
    assert "Traceback" not in ended.err
    assert ended.out == ""


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [
        (UserError("photos: empty"), 2, "error: photos: empty"),
        (StorageError("runs: the disk is full"), 2, "error: runs: the disk is full"),
        (MissingExtraError("running", "openvino", "openvino"), 2, "pip install 'fit50[openvino]'"),
        (ModuleNotFoundError("No module named 'torch'", name="torch"), 2, "pip install 'fit50[train]'"),
        (ModuleNotFoundError("No module named 'scipy.stats'", name="scipy.stats"), 2, "pip install 'fit50[train]'"),
        (ModuleNotFoundError("No module named 'own'", name="own"), 1, "error: this is a fault of fit50"),
        (ModuleNotFoundError("nameless"), 1, "error: this is a fault of fit50: ModuleNotFoundError: nameless"),
        (KeyError("lost"), 1, "error: this is a fault of fit50: KeyError: 'lost'"),
        (AssertionError(), 1, "--debug shows where"),
        (
            RuntimeError("[gloo/transport/tcp/pair.cc:561] Connection closed by peer"),
            1,
            "another process of this training",
        ),
        (DistNetworkError("Connection closed by peer"), 1, "another process of this training"),
        (ConnectionError("Connection closed by peer"), 1, "fault of fit50: ConnectionError: Connection closed by peer"),
        (RuntimeError("Connection closed by peer"), 1, "fault of fit50: RuntimeError: Connection closed by peer"),
        (KeyboardInterrupt(), 130, "run the same command again"),
    ],
)
def test_an_exception_becomes_a_code_and_a_message(
    fit50: Fit50, monkeypatch: pytest.MonkeyPatch, raised: BaseException, code: int, said: str
) -> None:
    def fail(*given: object) -> None:
        raise raised

    monkeypatch.setattr("fit50.spec.presets.network", fail)
    monkeypatch.setattr(zoo, "preset", fail)
    ended = fit50("zoo")
    assert ended.code == code
    assert said in ended.err
    assert "Traceback" not in ended.err
    assert ended.out == ""


def test_debug_shows_where_the_user_went_wrong(fit50: Fit50, tmp_path_factory: pytest.TempPathFactory) -> None:
    ended = fit50("--debug", "verify", tmp_path_factory.mktemp("empty"))
    assert ended.code == 2
    assert "Traceback" in ended.err
    assert "expected a bundle" in ended.err.splitlines()[-1]


def test_debug_lets_our_faults_through(monkeypatch: pytest.MonkeyPatch) -> None:
    from fit50.cli import main

    def fail(*given: object) -> None:
        raise KeyError("lost")

    monkeypatch.setattr(zoo, "preset", fail)
    with pytest.raises(KeyError, match="lost"):
        main(["zoo", "--debug"])


def test_dotted_options_are_edits() -> None:
    assert dotted(["a", "--train.epochs", "3", "--threads", "2"]) == ["a", "--set", "train.epochs=3", "--threads", "2"]
    assert dotted(["--train.optimizer.lr=1e-3"]) == ["--set", "train.optimizer.lr=1e-3"]
    assert dotted(["--stages[*].out", "{a: 1}"]) == ["--set", "stages[*].out={a: 1}"]
    assert dotted(["--image-size", "32", "--out", "a.b/c"]) == ["--image-size", "32", "--out", "a.b/c"]
