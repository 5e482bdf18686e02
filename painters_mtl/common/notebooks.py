"""What every notebook of this project does first."""

import os
from pathlib import Path


def start() -> None:
    """Go where the notebook may write: to /kaggle/working on Kaggle, else out of the folder `notebooks`."""
    if Path("/kaggle/working").is_dir():
        os.chdir("/kaggle/working")
    elif Path.cwd().name == "notebooks":
        os.chdir("..")
