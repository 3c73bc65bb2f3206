//! What is known of how a collection is used, as bytes: little-endian, under storage's checksum.
//!
//! `dim u32 | kept u32 | received u64 | samples u32 | kept * dim f16 | samples * (wanted u16, found u16)`

use half::f16;

use super::Known;
use super::recall::Samples;
use super::reservoir::Reservoir;

/// More queries than anybody receives: one more can always be counted.
const RECEIVED_MAX: u64 = 1 << 60;

pub(super) fn encode(known: &Known) -> Vec<u8> {
    let Known { reservoir, samples, .. } = known;
    let mut bytes = Vec::with_capacity(20 + 2 * reservoir.values().len() + 4 * samples.counts().len());
    bytes.extend((reservoir.dim() as u32).to_le_bytes());
    bytes.extend((reservoir.len() as u32).to_le_bytes());
    bytes.extend(reservoir.received().to_le_bytes());
    bytes.extend((samples.counts().len() as u32).to_le_bytes());
    reservoir.values().iter().for_each(|value| bytes.extend(value.to_le_bytes()));
    for (wanted, found) in samples.counts() {
        bytes.extend(wanted.to_le_bytes());
        bytes.extend(found.to_le_bytes());
    }
    bytes
}

/// None where the bytes are of another dimension, or not what [`encode`] writes.
pub(super) fn decode(bytes: &[u8], dim: usize, kept_max: u32) -> Option<Known> {
    let (head, rest) = bytes.split_at_checked(20)?;
    let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let (kept, samples) = (word(4) as usize, word(16) as usize);
    let received = u64::from(word(8)) | u64::from(word(12)) << 32;
    let (values, counts) = rest.split_at_checked(kept.checked_mul(dim)?.checked_mul(2)?)?;
    let sound =
        word(0) as usize == dim && counts.len() == samples * 4 && (kept as u64..RECEIVED_MAX).contains(&received);
    let halves = |bytes: &[u8]| bytes.as_chunks().0.iter().map(|word| u16::from_le_bytes(*word)).collect::<Vec<_>>();
    let values: Vec<f16> = halves(values).into_iter().map(f16::from_bits).collect();
    if !sound || values.iter().any(|value| !value.is_finite()) {
        return None;
    }
    let counts = halves(counts).chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
    let reservoir = Reservoir::again(dim, kept_max, received, values);
    Some(Known { reservoir, samples: Samples::of(counts), unsaved: 0, is_new: false })
}

/// The entry point for fuzzing: what is read is written as it was, and another query can be counted.
pub(crate) fn fuzz(bytes: &[u8]) -> bool {
    let Some(dim) = bytes.first_chunk().map(|dim| u32::from_le_bytes(*dim) as usize) else { return false };
    let Some(mut known) = decode(bytes, dim, 64).filter(|_| (1..=4096).contains(&dim)) else { return false };
    assert_eq!(decode(&encode(&known), dim, 64).as_ref(), Some(&known));
    known.reservoir.offer(&vec![1.0; dim]);
    known.samples.estimate().is_none_or(|estimate| (0.0..=1.0).contains(&estimate.mean))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let mut reservoir = Reservoir::new(3, 4);
        for n in 0..9 {
            reservoir.offer(&[n as f32, 1.0, 0.0]);
        }
        let known = Known { reservoir, samples: Samples::of(vec![(10, 9), (3, 3)]), unsaved: 0, is_new: false };
        let bytes = encode(&known);
        assert_eq!(decode(&bytes, 3, 4), Some(known));
        assert_eq!(decode(&bytes, 3, 2).map(|known| known.reservoir.len()), Some(2));
        assert_eq!(decode(&bytes, 4, 4), None);
        assert!((0..bytes.len()).all(|cut| decode(&bytes[..cut], 3, 4).is_none()));
        let mut endless = bytes.clone();
        endless[8..16].fill(0xff);
        assert_eq!(decode(&endless, 3, 4), None, "one more query could not be counted");
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 0xff;
            let _ = decode(&bad, 3, 4);
        }
    }
}
