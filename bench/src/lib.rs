//! Benches that cross rooms, and rivals side by side.
