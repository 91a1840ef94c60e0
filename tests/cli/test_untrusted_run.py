"""A run folder from anyone: no command that reads one runs what it brings, or writes where it points."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
from copy import deepcopy
from pathlib import Path

import pytest
import torch

import vje_ppl
from tests.helpers.commands import QUICK, SMALL, command, one_sentence
from vje_ppl.compare.__main__ import main as compare_main
from vje_ppl.crosscheck.__main__ import main as crosscheck_main
from vje_ppl.diagnose.__main__ import main as diagnose_main
from vje_ppl.errors import UserError
from vje_ppl.evaluate.__main__ import main as evaluate_main
from vje_ppl.export.__main__ import main as export_main
from vje_ppl.runs import checkpoint
from vje_ppl.runs.saved_model import MODEL, write_tensors
from vje_ppl.train.__main__ import main as train_main

EVIL = """
import os

def run(*args, **kwargs):
    os.mkdir(os.environ["CANARY"])

class Part:
    def __init__(self, *args, **kwargs):
        run()
"""


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    """The state of a run like any other."""
    root = tmp_path_factory.mktemp("honest")
    made = command(train_main, "vje_ppl.train", *SMALL, f"run.root={root}", "run.name=a")
    assert made.returncode == 0, made.stderr
    return root / "a"


@pytest.fixture
def canary(tmp_path, monkeypatch):
    """A folder that no attack may make, and modules that would make it."""
    (tmp_path / "evil.py").write_text(EVIL, encoding="utf-8")
    (tmp_path / "hubconf.py").write_text(f"{EVIL}\nrun()\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("CANARY", str(tmp_path / "canary"))
    yield tmp_path / "canary"
    sys.modules.pop("evil", None)


def forged(honest, folder, change):
    """A run folder with a sound checkpoint, whose state somebody has changed."""
    shutil.copytree(honest, folder)
    state = deepcopy(checkpoint.load(honest / "checkpoints" / "last.pt"))
    change(state)
    checkpoint.save(folder / "checkpoints" / "last.pt", state)
    (folder / "config.yaml").write_text(json.dumps(state.get("config")), encoding="utf-8")  # JSON is YAML
    return folder


#: Nodes of a configuration; {canary} and {folder} are paths.
NODES = {
    "os.system": {"_target_": "os.system", "command": "mkdir {canary}"},
    "os.mkdir by position": {"_target_": "os.mkdir", "_args_": ["{canary}"]},
    "os.mkdir later": {"_target_": "os.mkdir", "_partial_": True, "path": "{canary}"},
    "posix": {"_target_": "posix.mkdir", "path": "{canary}"},
    "eval": {"_target_": "builtins.eval", "_args_": ["__import__('os').mkdir('{canary}')"]},
    "exec": {"_target_": "builtins.exec", "_args_": ["import os; os.mkdir('{canary}')"]},
    "import": {"_target_": "importlib.import_module", "name": "evil"},
    "runpy": {"_target_": "runpy.run_path", "path_name": "{folder}/hubconf.py"},
    "subprocess": {"_target_": "subprocess.run", "args": ["mkdir", "{canary}"]},
    "functools.partial": {
        "_target_": "functools.partial",
        "_args_": [{"_target_": "hydra.utils.get_method", "path": "os.mkdir"}, "{canary}"],
    },
    "hydra.utils.instantiate": {
        "_target_": "hydra.utils.instantiate",
        "config": {"_target_": "os.mkdir", "path": "{canary}"},
        "_recursive_": False,
    },
    "hydra.utils.call": {"_target_": "hydra.utils.call", "config": {"_target_": "evil.run"}},
    "hydra.utils.get_object": {"_target_": "hydra.utils.get_object", "path": "evil.run"},
    "torch.hub": {"_target_": "torch.hub.load", "repo_or_dir": "{folder}", "model": "run", "source": "local"},
    "a module of theirs": {"_target_": "evil.Part"},
    "build": {"_target_": "vje_ppl.settings.build.build", "config": [["_target_", "evil.run"]], "part": "x"},
    "importlib of a module of ours": {"_target_": "vje_ppl.settings.twins.importlib.import_module", "name": "evil"},
    "os of a module of ours": {"_target_": "vje_ppl.runs.folder.os.mkdir", "path": "{canary}"},
    "subprocess of a module of ours": {"_target_": "vje_ppl.benchmark.memory.subprocess.run", "args": ["x"]},
    "hydra of a module of ours": {
        "_target_": "vje_ppl.settings.build.hydra.utils.call",
        "config": {"_target_": "evil.run"},
    },
    "partial of a part": {"_target_": "vje_ppl.guides.flow.partial", "_args_": ["x"]},
    "another run": {"_target_": "vje_ppl.load", "run": "{folder}", "trust_targets": True},
    "another training": {"_target_": "vje_ppl.train.run.train", "config": {}},
    "data of another run": {"_target_": "vje_ppl.settings.data.load_data", "config": {"x": {"_target_": "evil.run"}}},
    "what writes files": {"_target_": "vje_ppl.runs.files.write_atomically", "path": "{canary}", "data": "x"},
    "globals of a method": {
        "_target_": "vje_ppl.networks.encoders.MLP.forward.__globals__.__getitem__",
        "_args_": ["x"],
    },
    "a method of a part": {"_target_": "vje_ppl.networks.encoders.MLP.load_state_dict", "state_dict": {}},
    "a private function": {"_target_": "vje_ppl.networks.encoders._initialize", "module": None},
    "in a list": {"_target_": "vje_ppl.networks.encoders.MLP", "channels": [[{"_target_": "evil.run"}]]},
    "unexpanded": {"_target_": "vje_ppl.networks.encoders.MLP", "_recursive_": False, "dim": {"_target_": "evil.run"}},
    "made up": {"_target_": "vje_ppl.networks.encoders.MLP", "dim": "${{oc.create:{{_target_:evil.run}}}}"},
    "made up later": {"_target_": "vje_ppl.networks.encoders.MLP", "dim": "\\${{oc.create:{{_target_:evil.run}}}}"},
    "made up even later": {
        "_target_": "vje_ppl.networks.encoders.MLP",
        "dim": "\\\\\\${{oc.create:{{_target_:evil.run}}}}",
    },
    "decoded": {"_target_": "vje_ppl.networks.encoders.MLP", "dim": "${{oc.decode:'{{_target_: evil.run}}'}}"},
    "environment": {"_target_": "vje_ppl.networks.encoders.MLP", "dim": "${{oc.env:CANARY}}"},
    "no target but an interpolation": {"_target_": "${{oc.env:CANARY}}"},
    "controls": {"_target_": "vje_ppl.networks.encoders.MLP", "norm": "\x1b]0;owned\x07"},
    "name with controls": {"_target_": "vje_ppl.networks.encoders.\x1b[2J"},
}

#: Where parts of a model come from.
PLACES = (
    "encoder",
    "guide",
    "guide.network",
    "prior",
    "likelihood",
    "model.scale",
    "objective",
    "augment.color.jitter",
)


def filled(node, canary):
    if isinstance(node, dict):
        return {key: filled(value, canary) for key, value in node.items()}
    if isinstance(node, list):
        return [filled(value, canary) for value in node]
    return node.format(canary=canary, folder=canary.parent) if isinstance(node, str) else node


def put(place, node):
    def change(state):
        config = state["config"]
        *path, last = place.split(".")
        for step in path:
            config = config[step]
        config[last] = node

    return change


def let_through(folder, canary):
    """What loading came to, unless it was a sentence and nothing was run."""
    try:
        vje_ppl.load(folder)
    except UserError as error:
        sentence = str(error)
        return [] if "\n" not in sentence and "\x1b" not in sentence and not canary.exists() else [sentence]
    except Exception as error:
        return [error]
    return ["loaded"]


@pytest.mark.parametrize("name", NODES)
def test_load_refuses_what_a_configuration_brings(honest, tmp_path, canary, name):
    node = filled(NODES[name], canary)
    refuse(honest, tmp_path, canary, node, ["encoder"])


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [name for name, node in NODES.items() if node["_target_"] != "vje_ppl.networks.encoders.MLP"]
)
def test_load_refuses_it_wherever_it_is(honest, tmp_path, canary, name):
    refuse(honest, tmp_path, canary, filled(NODES[name], canary), PLACES)


def refuse(honest, tmp_path, canary, node, places):
    found = {place: let_through(forged(honest, tmp_path / place, put(place, node)), canary) for place in places}
    assert {place: one for place, one in found.items() if one} == {}
    assert not canary.exists()
    assert "evil" not in sys.modules


def test_load_refuses_the_same_in_an_export(honest, tmp_path, canary):
    state = checkpoint.load(honest / "checkpoints" / "last.pt")
    facts = {key: deepcopy(state[key]) for key in ("config", "data", "epoch")}
    for number, name in enumerate(NODES):
        facts["config"]["encoder"] = filled(NODES[name], canary)
        folder = tmp_path / str(number)
        folder.mkdir()
        write_tensors(state["module"], folder / MODEL, {"vje_ppl": json.dumps(facts)})
        assert let_through(folder, canary) == [], name


ORDERS = {"target": "a module of theirs", "interpolation": "made up later", "controls": "controls"}
ATTACKS = [
    pytest.param(node, id=name, marks=() if name == "interpolation" else pytest.mark.slow)
    for name, node in ORDERS.items()
]
COMMANDS = {
    "evaluate": (evaluate_main, ("run={run}", "eval=knn")),
    "export": (export_main, ("run={run}",)),
    "crosscheck": (crosscheck_main, ("run={run}",)),
    "diagnose": (diagnose_main, ("run={run}",)),
    "train": (train_main, (*SMALL, "resume={run}", "run.name=b")),
    "compare": (compare_main, ("runs={run}",)),
}


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("attack", ATTACKS)
def test_every_command_refuses_it(honest, tmp_path, canary, monkeypatch, name, attack):
    monkeypatch.chdir(tmp_path)
    place = "likelihood" if name == "compare" else "encoder"
    run = forged(honest, tmp_path / "run", put(place, filled(NODES[attack], canary)))
    main, arguments = COMMANDS[name]
    result = command(main, f"vje_ppl.{name}", *(one.format(run=run) for one in arguments))
    assert not canary.exists()
    assert "evil" not in sys.modules
    assert "Traceback" not in result.stderr
    assert "\x1b" not in result.stdout + result.stderr
    if name != "compare":  # which lists the run, and has no ELBO for it
        one_sentence(result)


def test_one_class_trains_with_no_optimizer_of_theirs(honest, tmp_path, canary):
    run = forged(honest, tmp_path / "run", put("optimizer._target_", "evil.Part"))
    result = command(evaluate_main, "vje_ppl.evaluate", *QUICK, f"run={run}", "eval=one_class")
    assert "optimizer._target_ is 'evil.Part'" in one_sentence(result)
    assert not canary.exists()


def test_data_are_not_downloaded_for_them(honest, tmp_path, canary):
    data = {"_target_": "vje_ppl.data.loaders.cifar.cifar10", "root": str(canary), "download": True}
    run = forged(honest, tmp_path / "run", put("data", data))
    result = command(evaluate_main, "vje_ppl.evaluate", f"run={run}", "eval=knn")
    assert "expects the folder" in one_sentence(result)
    assert not canary.exists()


def test_pickled_code_is_not_run_when_training_goes_on(honest, tmp_path, canary, monkeypatch):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(canary),)

    monkeypatch.chdir(tmp_path)
    run = shutil.copytree(honest, tmp_path / "run")
    buffer = io.BytesIO()
    torch.save({"config": Evil()}, buffer)
    data = bytearray(buffer.getvalue())
    data[-2:] = checkpoint._COMMENT_SIZE.to_bytes(2, "little")
    sealed = bytes(data) + checkpoint._seal(memoryview(data))
    for name in (checkpoint.LAST, checkpoint.PREVIOUS):
        (run / "checkpoints" / name).write_bytes(sealed)
    for main, arguments in (COMMANDS["train"], COMMANDS["evaluate"]):
        one_sentence(command(main, "vje_ppl", *(one.format(run=run) for one in arguments)))
    assert not canary.exists()


@pytest.mark.parametrize(
    "text",
    [
        "!!python/object/apply:os.mkdir ['{canary}']",
        "likelihood: !!python/object/new:os.mkdir ['{canary}']",
        "!!python/name:evil.run",
        "a: &a [x]\nb: !!python/module:evil",
    ],
    ids=["apply", "new", "name", "module"],
)
def test_yaml_tags_are_not_obeyed(honest, tmp_path, canary, text):
    run = shutil.copytree(honest, tmp_path / "run")
    (run / "config.yaml").write_text(text.format(canary=canary), encoding="utf-8")
    said = one_sentence(command(compare_main, "vje_ppl.compare", f"runs={run}"))
    assert "can be compared" in said
    assert not canary.exists()
    assert "evil" not in sys.modules


def test_compare_prints_nothing_that_a_terminal_obeys(honest, tmp_path):
    for number, name in enumerate(("good", "b\x1b]0;owned\x07", "\u202eevil")):
        run = shutil.copytree(honest, tmp_path / "runs" / name)
        metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
        metrics["data"]["name"] = f"digits\x1b[31m{number}\r"
        if number == 2:
            metrics["epoch"] = "\x1b[2J"
        (run / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
        config = json.loads(json.dumps(checkpoint.load(run / "checkpoints" / "last.pt")["config"]))
        config["encoder"] |= {f"\x1b[{number}m": "\x9b2J"}
        (run / "config.yaml").write_text(json.dumps(config), encoding="utf-8")
    result = command(compare_main, "vje_ppl.compare", f"runs={tmp_path / 'runs'}")
    assert result.returncode == 0, result.stderr
    written = (tmp_path / "runs" / "comparison" / "comparison.md").read_text(encoding="utf-8")
    for text in (result.stdout, result.stderr, written):
        assert not set(text) & set("\x1b\x07\x9b\r\u202e")
    assert r"\x1b" in result.stdout


@pytest.mark.slow
@pytest.mark.parametrize("link", [".lock", "one_class/3/train.log", "one_class/3/.lock", "evaluation.json"])
def test_links_are_not_followed(honest, tmp_path, link):
    precious = tmp_path / "precious"
    precious.write_text("{}", encoding="utf-8")
    run = shutil.copytree(honest, tmp_path / "run")
    (run / link).parent.mkdir(parents=True, exist_ok=True)
    (run / link).unlink(missing_ok=True)
    (run / link).symlink_to(precious)
    command(train_main, "vje_ppl.train", *SMALL, f"run.root={tmp_path}", "run.name=run")
    command(evaluate_main, "vje_ppl.evaluate", *QUICK, f"run={run}", "eval=one_class", "one_class.classes=[3]")
    assert precious.read_text(encoding="utf-8") == "{}"


def without(key):
    return lambda state: state.pop(key)


def setting(key, value):
    return lambda state: state.update({key: value})


def nested(depth):
    node: list = []
    for _ in range(depth):
        node = [node]
    return node


OF_MODELS = {
    "no config": without("config"),
    "config a list": setting("config", [1]),
    "config empty": setting("config", {}),
    "config nested deeply": lambda state: state["config"].update(x=nested(200)),
    "no encoder": lambda state: state["config"].pop("encoder"),
    "encoder a word": lambda state: state["config"].update(encoder="mlp"),
    "encoder of another width": lambda state: state["config"]["encoder"].update(width=17),
    "encoder of no width": lambda state: state["config"]["encoder"].update(width=0),
    "encoder larger than memory": lambda state: state["config"]["encoder"].update(width=10**12),
    "no data": without("data"),
    "channels a word": lambda state: state["data"].update(channels="three"),
    "image of no size": lambda state: state["data"].update(image_size=0),
    "weights a list": setting("module", [1]),
    "weights of something else": setting("module", {"x": torch.ones(1)}),
    "weights that are numbers": lambda state: state["module"].update({next(iter(state["module"])): 1.0}),
    "epoch a word": setting("epoch", "\x1b[2J"),
}
OF_TRAINING = {
    "no history": without("history"),
    "history of tensors": setting("history", [{"epoch": 0, "x": torch.ones(2)}]),
    "no optimizer": without("optimizer"),
    "optimizer of something else": setting("optimizer", {"state": {}, "param_groups": []}),
    "optimizer empty": setting("optimizer", {}),
    "clock a word": setting("clock", {"seconds": "x", "wait": 0.0, "images": 0.0}),
    "no random state": without("random"),
    "random state of something else": setting("random", {"python": [1, 2, 3]}),
    "monitor of something else": setting("monitor", {"names": 3}),
    "step a word": setting("step_in_epoch", "x"),
    "images not counted": lambda state: state["data"].pop("images"),
}


@pytest.mark.parametrize("change", OF_MODELS.values(), ids=OF_MODELS)
def test_load_says_what_is_wrong_with_a_state(honest, tmp_path, change):
    run = forged(honest, tmp_path / "run", change)
    with pytest.raises(UserError) as caught:
        vje_ppl.load(run)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("change", OF_TRAINING.values(), ids=OF_TRAINING)
def test_training_says_what_is_wrong_with_a_state(honest, tmp_path, change):
    run = forged(honest, tmp_path / "run", change)
    result = command(train_main, "vje_ppl.train", *SMALL, f"resume={run}", f"run.root={tmp_path}", "run.name=b")
    one_sentence(result)
    assert not list(Path(tmp_path / "b" / "checkpoints").iterdir())
