//! Numbers that a seed chooses, the same on every machine.

/// SplitMix64 (Steele, Lea, Flood 2014).
pub(super) fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ *state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

/// About normal, with a deviation of 1: the sum of four even numbers, so that no library's logarithm has a say.
pub(super) fn normal(state: &mut u64) -> f32 {
    let drawn = random(state);
    let sum: u64 = (0..4).map(|part| drawn >> (16 * part) & 0xffff).sum();
    (sum as f32 / 65_536.0 - 2.0) * 3.0_f32.sqrt()
}
