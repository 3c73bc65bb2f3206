//! Goal: no kernel reads outside of its slices, not even what counts for nothing in its sum. Method: slices that begin or end
//! where memory begins that nobody may touch; a read of it ends the process.
#![cfg(unix)]
#![allow(unsafe_code)]

use fromagerie_kernels::{Kernel, int4, reference, signed, signs};

/// Bytes right behind, or right before, memory that nobody may touch.
struct Fenced {
    map: *mut libc::c_void,
    map_bytes: usize,
    start: *const u8,
    bytes: usize,
}

impl Fenced {
    fn of(bytes: &[u8], at_end: bool) -> Fenced {
        // SAFETY: `sysconf` reads a constant of the system.
        let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).expect("a size");
        let inner = bytes.len().next_multiple_of(page).max(page);
        let map_bytes = inner + 2 * page;
        let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new map of its own, which `drop` ends; what is written lies between the two pages that are closed.
        unsafe {
            let map = libc::mmap(std::ptr::null_mut(), map_bytes, access, kind, -1, 0);
            assert_ne!(map, libc::MAP_FAILED);
            let start = map.cast::<u8>().add(page + if at_end { inner - bytes.len() } else { 0 });
            start.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
            for fence in [map, map.add(page + inner)] {
                assert_eq!(libc::mprotect(fence, page, libc::PROT_NONE), 0);
            }
            Fenced { map, map_bytes, start, bytes: bytes.len() }
        }
    }

    fn floats(floats: &[f32], at_end: bool) -> Fenced {
        Fenced::of(&floats.iter().flat_map(|x| x.to_ne_bytes()).collect::<Vec<u8>>(), at_end)
    }

    /// As values of another plain type.
    fn get<T: Copy>(&self) -> &[T] {
        assert!(self.start.cast::<T>().is_aligned() && self.bytes.is_multiple_of(size_of::<T>()));
        // SAFETY: so many bytes were written, the map lives as long as `self`, and the types asked for are floats and bytes.
        unsafe { std::slice::from_raw_parts(self.start.cast::<T>(), self.bytes / size_of::<T>()) }
    }
}

impl Drop for Fenced {
    fn drop(&mut self) {
        // SAFETY: the map of `of`, of which nothing is borrowed any more.
        unsafe { libc::munmap(self.map, self.map_bytes) };
    }
}

fn bytes(len: usize, factor: usize) -> Vec<u8> {
    (0..len).map(|at| (at * factor + at / 16 * 127) as u8).collect()
}

/// The four rows of a block.
fn rows<T>(block: &[T], len: usize) -> [&[T]; 4] {
    std::array::from_fn(|row| &block[row * len..][..len])
}

#[test]
fn nothing_outside_is_read() {
    for dim in 1..=300 {
        for at_end in [false, true] {
            integers(dim, at_end);
            floats(dim, at_end);
            counts(dim, at_end);
        }
    }
}

fn integers(dim: usize, at_end: bool) {
    let query: Vec<i8> = signed(&bytes(dim, 127)).iter().map(|x| (*x).max(-i8::MAX)).collect();
    let width = int4::bytes(dim);
    let mut dealt = vec![0; 2 * width];
    int4::prepare(&query, &mut dealt);
    let as_bytes = |values: &[i8]| values.iter().map(|x| x.cast_unsigned()).collect::<Vec<u8>>();
    let (fenced, dealt) = (Fenced::of(&as_bytes(&query), at_end), Fenced::of(&as_bytes(&dealt), at_end));
    let (block8, block4) = (Fenced::of(&bytes(4 * dim, 129), at_end), Fenced::of(&bytes(4 * width, 131), at_end));
    let (rows8, rows4) = (rows(block8.get::<i8>(), dim), rows(block4.get::<u8>(), width));
    for kernel in Kernel::available() {
        let set = kernel.instruction_set();
        let want = rows8.map(|row| reference::dot_int8(&query, row));
        assert_eq!(kernel.int8.dot4(fenced.get(), rows8).map(i64::from), want, "{set}, {dim} of 8 bits");
        assert_eq!(rows8.map(|row| i64::from(kernel.int8.dot(fenced.get(), row))), want, "{set}, {dim} of 8 bits");
        let want = rows4.map(|row| reference::dot_int4(&query, row));
        assert_eq!(kernel.int4.dot4(dealt.get(), rows4).map(i64::from), want, "{set}, {dim} of 4 bits");
        assert_eq!(rows4.map(|row| i64::from(kernel.int4.dot(dealt.get(), row))), want, "{set}, {dim} of 4 bits");
    }
}

fn floats(dim: usize, at_end: bool) {
    let made = |len, factor| bytes(len, factor).iter().map(|x| f32::from(*x) / 128.0 - 1.0).collect::<Vec<f32>>();
    let (query, block) = (made(dim, 127), made(4 * dim, 129));
    let halves: Vec<u8> = block.iter().flat_map(|x| half::f16::from_f32(*x).to_le_bytes()).collect();
    let (fenced, wide) = (Fenced::floats(&query, at_end), Fenced::floats(&block, at_end));
    let halves = Fenced::of(&halves, at_end);
    let (wide, halves) = (rows(wide.get::<f32>(), dim), rows(halves.get::<[u8; 2]>(), dim));
    for kernel in Kernel::available() {
        let close = |got: [f32; 4], rows: [&[f32]; 4]| {
            for (got, row) in got.into_iter().zip(rows) {
                let off = (f64::from(got) - reference::dot(&query, row)).abs();
                assert!(off <= reference::dot_bound(&query, row), "{}, {dim} floats", kernel.instruction_set());
            }
        };
        close(kernel.float32.dot4(fenced.get(), wide), wide);
        close(wide.map(|row| kernel.float32.dot(fenced.get(), row)), wide);
        let widened = halves.map(reference::widen);
        let widened = std::array::from_fn(|row| widened[row].as_slice());
        close(kernel.float16.dot4(fenced.get(), halves), widened);
        close(halves.map(|row| kernel.float16.dot(fenced.get(), row)), widened);
    }
}

fn counts(dim: usize, at_end: bool) {
    let query: Vec<i8> = signed(&bytes(dim, 127)).iter().map(|x| (*x).max(-i8::MAX) / 8).collect();
    let mut tables = vec![0; signs::block_bytes(dim)];
    signs::prepare(&query, &mut tables);
    let tables = Fenced::of(&tables, at_end);
    let block = Fenced::of(&bytes(signs::block_bytes(dim), 37), at_end);
    for kernel in Kernel::available() {
        let sums = kernel.signs.agreements(tables.get(), block.get());
        for (row, sum) in sums.into_iter().enumerate() {
            let want = reference::agreement(&query, block.get(), row);
            assert_eq!(i64::from(sum), want, "{}, {dim} signs", kernel.instruction_set());
        }
        let mut near = [0];
        kernel.signs.at_least(tables.get(), block.get(), sums[7], &mut near);
        assert_eq!(near[0] >> 7 & 1, 1, "{}, {dim} signs", kernel.instruction_set());
    }
}
