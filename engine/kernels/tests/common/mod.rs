//! What several tests of this crate use.
#![allow(dead_code)]

/// A small generator: the values matter less than that they differ.
pub fn bits(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    }
}

/// Floats in -1..1.
pub fn noise(seed: u64, len: usize) -> Vec<f32> {
    let mut next = bits(seed);
    (0..len).map(|_| (next() >> 40) as f32 / (1u32 << 24) as f32 * 2.0 - 1.0).collect()
}

/// Bytes of every value.
pub fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut next = bits(seed);
    (0..len).map(|_| (next() >> 32) as u8).collect()
}

/// Dimensions to try: all the small ones, and those around a register's width up to the largest.
pub fn dims() -> impl Iterator<Item = usize> {
    let common = [384, 511, 512, 513, 639, 640, 768, 1000, 1023, 1024, 1025, 1152, 1536, 2048, 3072, 4095, 4096];
    (1..=300).chain(common)
}
