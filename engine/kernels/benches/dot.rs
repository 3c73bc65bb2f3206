//! What each instruction set earns, for every kind of row: one query against rows in cache, and against rows of
//! which most are not, taken in an order that no prefetcher foresees.
//!
//! Compare within one run: `cargo bench -p fromagerie-kernels`.

use std::hint::black_box;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use fromagerie_kernels::{Kernel, Product, int4, reference, signs};

const DIMS: [usize; 3] = [256, 512, 768];
/// Rows that a search asks for together.
const AT_ONCE: usize = 32;

fn scan(c: &mut Criterion) {
    const DIM: usize = 256;
    for (place, rows) in [("in cache", 64), ("in memory", 65_536)] {
        let data: Vec<f32> = (0..rows * DIM).map(|i| (i % 251) as f32 / 251.0 - 0.5).collect();
        let query = &data[..DIM];
        let mut out = vec![0.0; rows];
        let mut group = c.benchmark_group(format!("256 dimensions, rows {place}"));
        group.throughput(Throughput::Elements(rows as u64)).sample_size(20);
        group.bench_function("reference", |b| {
            b.iter(|| data.chunks_exact(DIM).map(|row| reference::dot(black_box(query), row)).sum::<f64>());
        });
        for kernel in Kernel::available() {
            let name = kernel.instruction_set().to_string();
            group.bench_function(BenchmarkId::new("dot", &name), |b| {
                b.iter(|| data.chunks_exact(DIM).map(|row| kernel.dot(black_box(query), row)).sum::<f32>());
            });
            group.bench_function(BenchmarkId::new("dot_rows", &name), |b| {
                b.iter(|| kernel.dot_rows(black_box(query), &data, &mut out));
            });
        }
    }
}

/// Every kind of row, in batches as a graph asks for them.
fn scattered(c: &mut Criterion) {
    for dim in DIMS {
        for (place, rows) in [("in cache", 256), ("scattered in memory", 200_003)] {
            let mut group = c.benchmark_group(format!("{dim} dimensions, rows {place}"));
            group.throughput(Throughput::Elements(AT_ONCE as u64)).sample_size(20);
            for kernel in Kernel::available() {
                let set = kernel.instruction_set().to_string();
                kind(&mut group, "float32", &set, &kernel.float32, &vec![0.5; dim], vec![0.5; rows * dim], dim);
                kind(&mut group, "float16", &set, &kernel.float16, &vec![0.5; dim], vec![[0, 0x38]; rows * dim], dim);
                kind(&mut group, "int8", &set, &kernel.int8, &vec![5; dim], vec![5; rows * dim], dim);
                kind(
                    &mut group,
                    "int4",
                    &set,
                    &kernel.int4,
                    &vec![5; dim],
                    vec![5; rows * int4::bytes(dim)],
                    int4::bytes(dim),
                );
            }
        }
    }
}

/// Codes that lie one after another, as a sweep reads them.
fn in_sequence(c: &mut Criterion) {
    for dim in DIMS {
        for (place, rows) in [("in cache", 256), ("in sequence in memory", 1 << 18)] {
            let mut group = c.benchmark_group(format!("{dim} dimensions, codes {place}"));
            group.throughput(Throughput::Elements(rows as u64)).sample_size(20);
            let (block, blocks) = (signs::block_bytes(dim), rows / signs::ROWS);
            let (patterns, tables) = (vec![0x5a; blocks * block], vec![9; block]);
            let (codes, query) = (vec![0x5a; rows * int4::bytes(dim)], vec![5; 2 * int4::bytes(dim)]);
            for kernel in Kernel::available() {
                let set = kernel.instruction_set().to_string();
                group.bench_function(BenchmarkId::new("signs", &set), |b| {
                    let mut found = vec![0; blocks];
                    b.iter(|| kernel.signs.at_least(black_box(&tables), &patterns, u16::MAX, &mut found));
                });
                group.bench_function(BenchmarkId::new("int4", &set), |b| {
                    b.iter(|| {
                        let mut most = i32::MIN;
                        let bytes = int4::bytes(dim);
                        kernel.int4.dot_block(black_box(&query), &codes, bytes, |_, sum| most = most.max(sum));
                        most
                    });
                });
            }
        }
    }
}

/// One kind of row, `len` elements each.
fn kind<Q, R, S>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    set: &str,
    product: &Product<Q, R, S>,
    query: &[Q],
    data: Vec<R>,
    len: usize,
) {
    let rows = data.len() / len;
    let mut at = 0;
    group.bench_function(BenchmarkId::new(name, set), |b| {
        b.iter(|| {
            let ids: [usize; AT_ONCE] = std::array::from_fn(|i| (at + i * 77_777) * 7_919 % rows);
            at += 1;
            product.dot_scattered(
                black_box(query),
                &ids,
                |id| &data[id * len..][..len],
                |_, score| {
                    black_box(score);
                },
            );
        });
    });
}

criterion_group!(benches, scan, scattered, in_sequence);
criterion_main!(benches);
