"""What pyproject.toml cannot say: the bundled model goes from models/paintings into the wheel."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

MODEL = Path("models/paintings")


class BuildWithModel(build_py):
    """Builds the package, and puts the model into it; a checkout that is installed as it stands has it where it is."""

    def run(self) -> None:
        """Build; where the checkout has no model, a wheel without one comes of it."""
        super().run()
        if not self.editable_mode and MODEL.is_dir():
            target = Path(self.build_lib, "painters_mtl", "_paintings")
            shutil.rmtree(target, ignore_errors=True)
            target.mkdir(parents=True)
            for file in (file for file in MODEL.iterdir() if file.is_file() and not file.name.startswith(".")):
                shutil.copyfile(file, target / file.name)


setup(cmdclass={"build_py": BuildWithModel})
