"""How events move: from Kafka through the pipeline to the sinks."""

import os

# Read once, when Polars is loaded. Its allocator would never return pages it has set aside, only let the system take them
# when there is need: a worker would look like three times what it holds, and be killed where memory is limited.
os.environ.setdefault("_RJEM_MALLOC_CONF", "background_thread:true,dirty_decay_ms:500,muzzy_decay_ms:0")
