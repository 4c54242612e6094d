"""The session API: GraphQL in, ops out."""
