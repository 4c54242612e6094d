"""Where files come from that no step made: git repositories, downloads and the host."""
