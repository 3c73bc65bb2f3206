//! Bytes looked at as floats where they lie.
#![allow(unsafe_code)]

/// `bytes` as little-endian `f32`, without a copy; `None` where they are not aligned to four bytes, are no whole number
/// of floats, or the machine counts bytes the other way round.
#[must_use]
pub fn floats(bytes: &[u8]) -> Option<&[f32]> {
    // SAFETY: every four bytes are a float, and `align_to` finds where aligned ones start.
    let (before, floats, after) = unsafe { bytes.align_to::<f32>() };
    (cfg!(target_endian = "little") && before.is_empty() && after.is_empty()).then_some(floats)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_aligned_and_whole() {
        let numbers = [1.5f32, -2.0, f32::NAN];
        // SAFETY: floats have no padding, and every byte is a `u8`.
        let bytes = unsafe { std::slice::from_raw_parts(numbers.as_ptr().cast::<u8>(), 12) };
        assert_eq!(floats(&bytes[..8]), cfg!(target_endian = "little").then_some(&numbers[..2]));
        assert_eq!((floats(&bytes[1..9]), floats(&bytes[..7])), (None, None));
        assert!(floats(&[]).is_none_or(<[f32]>::is_empty));
    }
}
