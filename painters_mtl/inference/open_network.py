"""The network of a run folder: built from its arrays where it has them, else read from `model.keras`.

It stands above `network`, which builds, and `runs`, which reads files; neither of them imports the other.
"""

from pathlib import Path

import keras

from painters_mtl.common.errors import UserError
from painters_mtl.network.manifest import build_from_manifest, describe_network, network_arrays
from painters_mtl.network.settings import NetworkSettings
from painters_mtl.runs.network_files import NETWORK, has_network_files, read_network_files, save_network_files
from painters_mtl.runs.run import Run, save_model


def open_network(run: Run) -> keras.Model:
    """The network of a run, without its optimizer. No code in the folder is run.

    Its outputs are {task: probabilities}, and for some tasks `{task}_known`: see `evaluation.open_set`. A run of any
    version of Keras from 3.10 on opens; one of version 0.4 of this program has `model.keras` only, and opens in the
    version of Keras that wrote it and in newer ones.

    Raises `UserError` for files that are damaged, or not those that the training wrote.
    """
    if not has_network_files(run.folder):
        return run.model()
    run.check()
    manifest, arrays = read_network_files(run.folder, run.network_digest)
    try:
        run.check_heads(manifest["heads"])
        return build_from_manifest(manifest, arrays)
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{run.folder / NETWORK} is damaged ({type(error).__name__}: {error})") from error
    except UserError as error:
        raise UserError(f"{run.folder} cannot be opened: {error}") from error


def save_network(network: keras.Model, settings: NetworkSettings, folder: Path) -> None:
    """Write the network of a run: `model.keras`, for Keras itself, then its arrays and manifest, for any version.

    Where a kill comes in between, there are no arrays, and the run opens from `model.keras`.
    """
    save_model(network, folder)
    if (manifest := describe_network(network, settings)) is not None:
        save_network_files(folder, manifest, network_arrays(network))
