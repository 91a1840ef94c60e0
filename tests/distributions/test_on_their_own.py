"""The distributions work where only Pyro, torch, NumPy and jaxtyping are installed."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib

from tests.documentation.blocks import ROOT
from tests.helpers.commands import environment

#: Pyro's and torch's own dependencies among those of the project.
ALLOWED = {"torch", "pyro-ppl", "numpy", "jaxtyping", "tqdm", "jinja2", "filelock", "mpmath"}

#: Names under which packages are imported, where these differ.
IMPORTED = {"hydra-core": "hydra", "scikit-learn": "sklearn", "pillow": "PIL"}

ALONE = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked}:
            raise ModuleNotFoundError(f"No module named {{name}}", name=name)
sys.meta_path.insert(0, Missing())
import torch, pyro, pyro.distributions as dist
import vje_ppl.distributions as spherical
location = torch.tensor([0.8, 0.0, 0.6])
for one in (spherical.TangentStudentT(1.0, location, torch.full((3,), 0.1)), spherical.VonMisesFisher(location, 5.0),
            spherical.PowerSpherical(location, 5.0), spherical.SphericalCauchy(location, 0.5),
            spherical.SphericalStudentT(1.0, location, 0.5)):
    with pyro.plate("images", 4):
        drawn = pyro.sample("direction", one)
    assert drawn.shape == (4, 3) and one.log_prob(drawn).isfinite().all()
print("fine")
"""


def test_the_distributions_import_nothing_but_pyro_and_its_dependencies():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = {re.match(r"[\w-]+", one).group() for one in project["dependencies"]} - ALLOWED
    blocked = {IMPORTED.get(name, name) for name in names}
    assert {"hydra", "sklearn", "lightning", "jax", "arviz", "torchvision"} <= blocked
    done = subprocess.run(
        [sys.executable, "-c", ALONE.format(blocked=blocked)], env=environment(), capture_output=True, text=True
    )
    assert (done.returncode, done.stdout.strip()) == (0, "fine"), done.stderr
