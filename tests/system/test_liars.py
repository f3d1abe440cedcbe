"""A partner whose software lies, or whose disk is full: the others' study goes on, and nothing is spent twice."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from server.asking import BAD_REPLY, BAD_SIGNATURE
from simulations.deployment import Deployment, Failed
from tests.system.stands import AGENCY, NGO, PLATFORM, answered, charges, online, running

pytestmark = pytest.mark.bad_days
NAME_OF_LIE = "name-of-lie"
LIAR = """
import importlib.util, sys
from dataclasses import replace
from pathlib import Path

class Liar:
    # Puts a lie in the place of what a node signs in training.
    def find_spec(self, name, path=None, target=None):
        if name != "federation.signed_replies":
            return None
        sys.meta_path.remove(self)
        found = importlib.util.find_spec(name)
        load = found.loader.exec_module
        def exec_module(module):
            load(module)
            module.sign_reply = lying(module.sign_reply)
        found.loader.exec_module = exec_module
        return found

def lying(sign):
    def signed(reply, request, action, key):
        lie = Path({name!r}).read_text()
        if action != "train" or reply.arrays is None:
            return sign(reply, request, action, key)
        def told(**arrays):
            return sign(replace(reply, arrays=arrays), request, action, key)
        given = reply.arrays
        if lie == "dtype":
            return told(**{{name: one.astype("float64") for name, one in given.items()}})
        if lie == "shape":
            return told(**{{name: one.reshape(-1)[:-1] for name, one in given.items()}})
        if lie == "names":
            return told(**{{name + "x": one for name, one in given.items()}})
        if lie == "nan":
            return told(**{{name: one * float("nan") for name, one in given.items()}})
        if lie == "times 100":
            return told(**{{name: request_of(request, name) + 100 * (one - request_of(request, name))
                           for name, one in given.items()}})
        if lie == "unsigned":
            return replace(sign(reply, request, action, key), signature="")
        if lie == "signed for another round":
            return sign(reply, replace(request, round_number=request.round_number + 1), action, key)
        if lie == "somebody else":
            return sign(replace(reply, partner={other!r}), request, action, key)
        return sign(reply, request, action, key)
    return signed

def request_of(request, name):
    return request.arrays[name] if request.arrays else 0.0

sys.meta_path.insert(0, Liar())
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with running(tmp_path_factory.mktemp("liars")) as found:
        yield found


@pytest.fixture(scope="module")
def liar(made: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file that says what the NGO's software lies about from now on."""
    folder = tmp_path_factory.mktemp("liar")
    said = folder / NAME_OF_LIE
    said.write_text("nothing")
    (folder / "sitecustomize.py").write_text(LIAR.format(name=str(said), other=PLATFORM))
    made.stop(NGO)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]))
        made.start(NGO)
    made.wait(lambda: online(made) == {NGO, AGENCY, PLATFORM}, "the liar", seconds=200)
    yield said
    made.stop(NGO)
    made.start(NGO)
    made.wait(lambda: online(made) == {NGO, AGENCY, PLATFORM}, "the honest one", seconds=200)


def model_of(made: Deployment, name: str) -> dict[str, np.ndarray]:
    signed = made.plan(f"study.name={name}", "training.rounds=1")
    made.do("coordinator", "run", "--home", made.coordinator.path)
    model: dict[str, np.ndarray] = load_file(made.coordinator.study(signed.sha256).path / "model.safetensors")
    model["accepted"] = np.array([NGO in answered(made, signed)["round 1"]])
    return model


@pytest.mark.parametrize(("lie", "code"), [
    ("dtype", "failed"), ("shape", BAD_REPLY), ("names", BAD_REPLY), ("nan", BAD_REPLY),
    ("unsigned", BAD_SIGNATURE), ("signed for another round", BAD_SIGNATURE), ("somebody else", BAD_SIGNATURE)])
def test_a_lie_is_refused_and_the_others_go_on(made: Deployment, liar: Path, lie: str, code: str) -> None:
    liar.write_text(lie)
    signed = made.plan(f"study.name=liar-{lie.replace(' ', '-')}", "training.rounds=1")
    made.do("coordinator", "run", "--home", made.coordinator.path)
    stages = {one.stage: one for one in made.coordinator.study(signed.sha256).stages()}
    assert dict(stages["round 1"].refused) == {NGO: code}
    assert set(stages["round 1"].answered) == {AGENCY, PLATFORM}
    # What was answered was charged, lie or not, and once.
    assert charges(made, NGO, signed) == (2, 0)
    assert charges(made, AGENCY, signed) == (2, 0)


def test_a_poisoned_update_moves_the_model_no_further_than_an_honest_one_may(made: Deployment, liar: Path) -> None:
    """A hundred times its update: taken in, and cut to the plan's bound, or refused."""
    liar.write_text("nothing")
    honest = model_of(made, "honest")
    liar.write_text("times 100")
    poisoned = model_of(made, "poisoned")
    names = [name for name in honest if name != "accepted"]
    assert honest["accepted"].all()
    apart = sum(float(np.square(poisoned[name] - honest[name]).sum()) for name in names) ** 0.5
    size = sum(float(np.square(honest[name]).sum()) for name in names) ** 0.5
    assert apart < 2 * size, (apart, size, bool(poisoned["accepted"].all()))


def test_a_partner_whose_disk_is_full_says_so_and_comes_back_without_having_spent_twice(made: Deployment) -> None:
    home = made.node(AGENCY).path
    made.stop(AGENCY)
    aside = home.with_name("aside")
    shutil.move(home, aside)
    home.mkdir(mode=0o700)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m,mode=0700", "none", str(home)], check=True)
    try:
        shutil.copytree(aside, home, dirs_exist_ok=True, ignore=shutil.ignore_patterns("run"))
        made.start(AGENCY)
        made.wait(lambda: AGENCY in online(made), "the partner on a small disk", seconds=200)
        signed = made.plan("study.name=disk-full", "study.stage_deadline_seconds=60")
        with (home / "ballast").open("wb", buffering=0) as ballast:
            try:
                while True:
                    ballast.write(bytes(4096))
            except OSError:
                pass
        made.do("coordinator", "run", "--home", made.coordinator.path)
        assert set(answered(made, signed)["table"]) == {NGO, PLATFORM}
        assert AGENCY not in answered(made, signed)["round 1"]
        with pytest.raises(Failed, match=r"as the disk is full or failing.*make room"):
            made.do("partner", "status", "--home", home)
        (home / "ballast").unlink()
        made.stop(AGENCY)
        made.start(AGENCY)
        made.wait(lambda: AGENCY in online(made), "the partner with room again", seconds=200)
        signed = made.plan("study.name=room-again")
        made.do("coordinator", "run", "--home", made.coordinator.path)
        assert set(answered(made, signed)["table"]) == {NGO, AGENCY, PLATFORM}
        assert charges(made, AGENCY, signed) == (3, 0)
        made.do("ledger", "verify", "--home", home)
        made.do("audit", "journal", home / "journal.jsonl")
    finally:
        made.stop(AGENCY)
        shutil.rmtree(aside)
        shutil.copytree(home, aside, ignore=shutil.ignore_patterns("run"))
        subprocess.run(["umount", str(home)], check=True)
        home.rmdir()
        shutil.move(aside, home)
