//! Goal: no bytes in the place of a graph make the index panic or find a row that is not there. Method: the corpus that
//! libFuzzer kept, replayed and mutated.

#[path = "../../../fuzz/graph.rs"]
mod graph;
#[path = "../../../fuzz/mutate.rs"]
mod mutate;
#[path = "../../../storage/tests/common/random.rs"]
mod random;

#[test]
fn any_bytes_in_the_place_of_a_graph() {
    mutate::run("graph", 1, graph::graph);
}
