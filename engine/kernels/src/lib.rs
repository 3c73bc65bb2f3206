//! Distances and scans: what Fromagerie computes on vectors, one file per instruction set.
