"""The parts of this repository's module: image tests, the workload and Cloud Run."""
