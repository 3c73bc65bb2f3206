//! ONNX Runtime: the library, the sessions, and a [`Model`](crate::Model) made of three graphs.
//!
//! This is the only room that names `ort`. `library` finds and checks the shared library before it is loaded
//! (`elf`), `runtime` loads it once a process, `session` and `ports` hold a graph to what the manifest promises, and
//! `embed`, `decoder_graph`, `vision` and `map` each know the inputs and outputs of one graph. Keys and values are in
//! `kept` while a sequence reads alone, and in `rows` while its steps meet those of others (`batch`); `past` and `decoder`
//! hide the difference. [`OnnxModel`] puts them together.

mod batch;
mod cores;
mod decoder;
mod decoder_graph;
mod device;
mod elf;
mod embed;
mod error;
mod kept;
mod library;
mod map;
mod model;
mod past;
mod ports;
mod rows;
mod runtime;
mod session;
mod vision;

pub use device::{Device, ParseDeviceError};
pub use error::GraphError;
pub use library::{Attempt, LibraryError};
pub use model::OnnxModel;
pub use runtime::{Runtime, RuntimeOptions};

/// An error of `ort` with all its causes: the reason of a failed load lies in the cause.
fn reason(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = error.source();
    }
    text
}
