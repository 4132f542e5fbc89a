"""The benchmark: Regulars beside PocketBase, the raw store and the disk, under one load generator."""
