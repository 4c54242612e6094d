"""The names of whiteouts in the tar of a layer.

https://github.com/opencontainers/image-spec/blob/main/layer.md#whiteouts
"""

WHITEOUT = b".wh."
OPAQUE = b".wh..wh..opq"
