"""Where paintings are looked for when no --data is given."""

import os
from pathlib import Path

KAGGLE_INPUT = Path(os.environ.get("KAGGLE_CACHE_MOUNT_FOLDER", "/kaggle/input"))  # the variable is kagglehub's
KAGGLE_FOLDERS = (KAGGLE_INPUT / "painter-by-numbers", KAGGLE_INPUT / "competitions" / "painter-by-numbers")
LOCAL_FOLDER = Path("data/painter-by-numbers")
DEMO_FOLDER = Path("data/demo")  # where the demo is drawn, if nothing is found
