//! Which kernels a process uses: the best that its processor has and that compute what they should.
//!
//! Processors come that nobody here has run on. A kernel that is wrong on one of them would be a silent wrong answer
//! to every search, so before the first use each kind of product is compared with the reference on a few vectors
//! (some microseconds), and a kernel that differs is passed over, with a line in the log, for the next best.

use std::fmt;
use std::sync::OnceLock;

use half::f16;

use crate::dispatch::Kernel;
use crate::{int4, reference, signed, signs};

/// The environment variable that names the instruction set to use, as it is displayed: `portable`, `avx2`, `avx512`,
/// `avx512+vnni`, `neon`, `neon+dotprod`. For tests and for comparing; it is read once.
pub const VARIABLE: &str = "FROMAGERIE_SIMD";

/// Lengths that the check multiplies: below, at, and past the widths of registers.
const LENGTHS: [usize; 7] = [1, 7, 33, 64, 128, 200, 321];

/// What a process computes with, and what there is to say about it.
#[derive(Clone, Debug)]
pub struct KernelChoice {
    /// The kernel in use.
    pub kernel: Kernel,
    /// Why it is not the best that the processor has; a sentence each.
    pub notes: Vec<String>,
}

impl fmt::Display for KernelChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kernel.instruction_set())?;
        self.notes.iter().try_for_each(|note| write!(f, "; {note}"))
    }
}

/// The choice of this process, made at the first use and kept.
#[must_use]
pub fn kernel_choice() -> &'static KernelChoice {
    static CHOICE: OnceLock<KernelChoice> = OnceLock::new();
    CHOICE.get_or_init(|| {
        let wanted = std::env::var(VARIABLE).ok();
        let choice = choose(Kernel::available(), wanted.as_deref());
        for note in &choice.notes {
            tracing::warn!(instruction_set = %choice.kernel.instruction_set(), "{note}");
        }
        choice
    })
}

/// The last of `available` that is sound, or the wanted one.
fn choose(mut available: Vec<Kernel>, wanted: Option<&str>) -> KernelChoice {
    let mut notes = Vec::new();
    if let Some(wanted) = wanted {
        match available.iter().position(|kernel| kernel.instruction_set().to_string() == wanted) {
            Some(at) if at + 1 == available.len() => {}
            Some(at) => {
                available.truncate(at + 1);
                notes.push(format!("{VARIABLE} asks for it"));
            }
            None => {
                let names: Vec<_> = available.iter().map(|kernel| kernel.instruction_set().to_string()).collect();
                notes.push(format!("{VARIABLE} is {wanted:?}, and this machine has {}", names.join(", ")));
            }
        }
    }
    while let Some(kernel) = available.pop() {
        match wrong_product(&kernel) {
            None => return KernelChoice { kernel, notes },
            Some(kind) => notes.push(format!(
                "{} is not used: its {kind} products are wrong on this processor; please report it",
                kernel.instruction_set()
            )),
        }
    }
    KernelChoice { kernel: Kernel::PORTABLE, notes }
}

/// The kind of product, if any, that differs from the reference on the vectors of the check.
fn wrong_product(kernel: &Kernel) -> Option<&'static str> {
    LENGTHS.into_iter().find_map(|len| {
        // A query and four rows of bytes in which every value occurs, and the largest ones next to each other.
        let bytes = |factor: usize| -> Vec<u8> { (0..len).map(|at| (at * factor + at / 16 * 127) as u8).collect() };
        let (a, rows) = (bytes(127), [129, 131, 133, 135].map(bytes));
        let floats = |bytes: &[u8]| -> Vec<f32> { bytes.iter().map(|byte| f32::from(*byte) / 100.0 - 1.2).collect() };
        let (x, singles) = (floats(&a), rows.each_ref().map(|row| floats(row)));
        let half = |x: &f32| f16::from_f32_const(*x).to_le_bytes();
        let halves = singles.each_ref().map(|row| row.iter().map(half).collect::<Vec<_>>());
        let query: Vec<i8> = signed(&a).iter().map(|x| (*x).max(-i8::MAX)).collect();
        let mut dealt = vec![0; 2 * len];
        int4::prepare(&query, &mut dealt);

        let close =
            |got: f32, row: &[f32]| (f64::from(got) - reference::dot(&x, row)).abs() <= reference::dot_bound(&x, row);
        let (singles, halves) = (singles.each_ref().map(Vec::as_slice), halves.each_ref().map(Vec::as_slice));
        let (rows4, rows8) = (rows.each_ref().map(Vec::as_slice), rows.each_ref().map(|row| signed(row)));
        let (of_singles, of_halves) = (kernel.float32.dot4(&x, singles), kernel.float16.dot4(&x, halves));
        let (of_8, of_4) = (kernel.int8.dot4(&query, rows8), kernel.int4.dot4(&dealt, rows4));
        let all = |is_right: &dyn Fn(usize) -> bool| (0..4).all(is_right);
        [
            (
                "float32",
                all(&|n| of_singles[n] == kernel.float32.dot(&x, singles[n]) && close(of_singles[n], singles[n])),
            ),
            (
                "float16",
                all(&|n| {
                    let wide = reference::widen(halves[n]);
                    of_halves[n] == kernel.float16.dot(&x, halves[n]) && close(of_halves[n], &wide)
                }),
            ),
            (
                "int8",
                all(&|n| {
                    let want = reference::dot_int8(&query, rows8[n]);
                    [of_8[n], kernel.int8.dot(&query, rows8[n])].map(i64::from) == [want; 2]
                }),
            ),
            (
                "int4",
                all(&|n| {
                    let want = reference::dot_int4(&query, rows4[n]);
                    [of_4[n], kernel.int4.dot(&dealt, rows4[n])].map(i64::from) == [want; 2]
                }),
            ),
            ("signs", counts_signs(kernel, &query)),
        ]
        .into_iter()
        .find_map(|(kind, is_right)| (!is_right).then_some(kind))
    })
}

/// Whether agreements with a block in which every pattern occurs are the reference's.
fn counts_signs(kernel: &Kernel, query: &[i8]) -> bool {
    let query: Vec<i8> = query.iter().map(|x| x / 8).collect();
    let block: Vec<u8> = (0..signs::block_bytes(query.len())).map(|at| (at * 37 + at / 16 * 127) as u8).collect();
    let mut tables = vec![0; block.len()];
    signs::prepare(&query, &mut tables);
    let sums = kernel.signs.agreements(&tables, &block);
    let least = sums[query.len() % signs::ROWS];
    let mut rows = [0];
    kernel.signs.at_least(&tables, &block, least, &mut rows);
    let is_right = |(row, sum): (usize, &u16)| {
        i64::from(*sum) == reference::agreement(&query, &block, row) && (rows[0] >> row & 1 == 1) == (*sum >= least)
    };
    sums.iter().enumerate().all(is_right)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kernel_of_this_machine_is_sound() {
        for kernel in Kernel::available() {
            assert_eq!(wrong_product(&kernel), None, "{}", kernel.instruction_set());
        }
    }

    #[test]
    fn a_wrong_kernel_is_passed_over_and_named() {
        for kind in ["float32", "float16", "int8", "int4", "signs"] {
            let choice = choose(vec![Kernel::PORTABLE, Kernel::PORTABLE.broken(kind)], None);
            assert_eq!(wrong_product(&choice.kernel), None);
            assert_eq!(choice.notes.len(), 1);
            assert!(choice.to_string().contains(&format!("its {kind} products are wrong")), "{choice}");
        }
        let only = choose(vec![Kernel::PORTABLE.broken("signs")], None);
        assert_eq!(only.kernel.instruction_set(), crate::InstructionSet::Portable);
    }

    #[test]
    fn the_variable_names_what_is_used() {
        let best = choose(Kernel::available(), None);
        assert!(best.notes.is_empty(), "{best}");
        let name = best.kernel.instruction_set().to_string();
        assert_eq!(choose(Kernel::available(), Some(&name)).to_string(), name);
        let portable = choose(Kernel::available(), Some("portable"));
        assert_eq!(portable.kernel.instruction_set(), crate::InstructionSet::Portable);
        let unknown = choose(Kernel::available(), Some("mmx"));
        assert_eq!(unknown.kernel.instruction_set(), best.kernel.instruction_set());
        assert!(unknown.to_string().contains("FROMAGERIE_SIMD is \"mmx\""), "{unknown}");
    }
}
