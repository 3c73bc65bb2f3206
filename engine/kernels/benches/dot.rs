//! What each instruction set earns: one query against a block of rows in cache, and against one that is not.
//!
//! Compare within one run: `cargo bench -p fromagerie-kernels`.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use fromagerie_kernels::{Kernel, reference};

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

criterion_group!(benches, scan);
criterion_main!(benches);
