"""The limits of a request to the session, in one place; docs/architecture/limits.md lists them.

They bound what one client costs the others: memory, time on the event loop, and connections. All
are far above what SDKs send and what the recorded answers of the Dagger engine need.
"""

from __future__ import annotations

# Of the connection.
HEAD_SECONDS = 10.0
"""From the first byte of a connection, or its opening, to the end of the request's head."""
BODY_SECONDS = 30.0
"""From the end of the head to the end of the body."""
DRAIN_SECONDS = 2.0
"""For the body of a request that is refused by its head."""
KEEP_ALIVE_SECONDS = 300
ACCEPTED_TOGETHER = 64
"""Less than MOST_WAITING: a head that came with its connection is read before that is closed."""
MOST_QUEUED = 1024
"""Connections that the kernel holds until they are accepted."""
MOST_WAITING = 128
"""Connections that have never sent a complete head; the oldest is closed for a new one."""
LARGEST_HEAD = 64 << 10

# Of the body.
LARGEST_BODY = 8 << 20
LARGEST_WIDE_BODY = 4 << 20
"""With characters beyond U+FFFF: for such text Python stores four bytes a character."""
MOST_JSON_TOKENS = 200_000
DEEPEST_JSON = 200

# Of the query.
MOST_TOKENS = 80_000
DEEPEST_QUERY = 6_000
MOST_SELECTIONS = 6_000
"""Selections of all operations, with the fragments written out."""
MOST_COMPARISONS = 50_000
"""Pairs of selections under one name that validation compares."""
MOST_OPERATIONS = 100
MOST_FRAGMENTS = 200
LONGEST_NAME = 256
MOST_INTROSPECTED = 200_000
"""Fields that an answer about the schema and nothing else holds, estimated."""
MOST_ALSO_INTROSPECTED = 10_000
"""The same where a query asks for more than the schema, which is answered on the event loop."""
MOST_ERRORS = 20
