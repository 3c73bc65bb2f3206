//! Goal: a search allocates nothing once its scratch is warm.
//!
//! Method: an allocator that counts, in a test file of its own; the same queries twice, filtered and not.
#![allow(unsafe_code)]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use common::set;
use fromagerie_index::Query;
use fromagerie_index::frozen::{Graph, Scratch};
use fromagerie_index::vamana::{VamanaParams, build};

struct Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator unchanged; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn none_a_query_after_the_first_round() {
    let set = set(3_000, 32, 50);
    let rows = set.rows();
    let bytes = build(&rows, None, VamanaParams::default()).expect("a graph");
    let graph = Graph::parse(&bytes).expect("a graph");
    let mut scratch = Scratch::new();
    let mut round = || {
        let before = COUNT.with(Cell::get);
        for vector in set.like_rows.iter().chain(&set.like_text) {
            let query = Query::new(vector, 10);
            let third = Query { allow: Some(&|row| row % 3 == 0), ..query };
            let nothing = Query { allow: Some(&|_| false), ..query };
            for query in [query, third, nothing] {
                graph.search(&rows, &query, &mut scratch).expect("an answer");
            }
        }
        COUNT.with(Cell::get) - before
    };
    assert!(round() > 0, "the counter must see the first round fill the scratch");
    assert_eq!(round(), 0);
}
