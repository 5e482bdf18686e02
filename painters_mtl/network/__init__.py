"""Build, split, fold, run and explain keras.Models. Reads no painting.

The one room that imports something here: every module in it needs Keras, set to the data format and float type that the
networks are written for, also where a notebook imports a single module.
"""

from painters_mtl.common.lazy_imports import import_tensorflow

import_tensorflow()
