"""What the page accepts, beside the rules of `images/` for pixels, formats and zips: what a server needs."""

MAX_FILE = 256 << 20  # bytes of one uploaded file, a picture or a zip
MAX_REQUEST = 2 << 30  # bytes of one upload, many files in it
MAX_JSON = 1 << 20  # bytes of any other request,
MAX_FOLDER_JSON = 4 << 20  # but for one that names the files of a folder: MOST_PICTURES need 2 MB
MAX_STORED = 4 << 30  # bytes of all uploads that are kept at a time; above it the oldest go, and new ones wait
MOST_PICTURES = 5_000  # of one folder; a larger one is for `painters-mtl predict`
MOST_SHOWN = 200  # of them in the table and the gallery on the page; the CSV holds all
AT_ONCE = 2  # questions under way; one folder more has a slot of its own
MOST_WAITING = 256  # questions that wait for the network
MOST_REQUESTS = 320  # POST requests under way
MOST_STREAMS = 480  # open streams: one or two for each open page
MOST_SESSIONS = 200  # open pages whose painting is remembered
MODELS_KEPT = 4  # networks in memory
MOST_WRONG, WRONG_SECONDS = 10, 300.0  # wrong passwords from one address in so many seconds

KEPT_SECONDS = 1_800.0  # an upload goes so long after it was last asked for, or when its tab is closed
PARTIAL_SECONDS = 120.0  # what is left of an upload that broke off
SWEEP_SECONDS = 15.0  # between two looks for what can go
STALL_SECONDS = 30.0  # that a request may keep silent
UPLOAD_SECONDS = 1_800.0  # that an upload may last

SHOWN_SIDE = 1_024  # longer side, in pixels, of the painting as the page shows it
TOP = 5  # likeliest classes shown of each task
NEAREST = 12  # works shown
