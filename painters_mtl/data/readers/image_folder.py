"""Hugging Face's imagefolder: metadata.csv, .jsonl or .parquet with file_name, beside the images or one a split.

Short, because all but the finding of the tables is the reading of any table.
"""

from painters_mtl.data.collection import Collection, Reading
from painters_mtl.data.csv_table import TableFile
from painters_mtl.data.readers import table


def read(collection: Collection, tables: list[TableFile]) -> Reading:
    """The rows of all the metadata; file names start from the folder of each."""
    reading = table.read(collection, tables, "imagefolder")
    what = reading.sentence.removeprefix("read as a table, ")
    return Reading("imagefolder", f"read as Hugging Face's imagefolder, {what}", reading.rows)
