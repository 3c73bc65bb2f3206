//! A graph held to its word: names, types and shapes are checked when it is loaded and whenever it answers.
//!
//! What a caller gets from here has the shape it asked for, or is an error that names the graph, what was expected, and
//! what was found. Sessions are behind a lock, because ONNX Runtime's binding wants them used by one thread at a time.

use std::borrow::Cow;
use std::path::Path;

use ort::session::{Session, SessionInputValue, SessionOutputs};
use ort::value::{Outlet, TensorElementType, ValueType};
use parking_lot::Mutex;

use super::device::Device;
use super::error::GraphError;
use super::ports::{Dim, Port, check_ports};
use super::reason;
use super::runtime::Runtime;

/// A loaded graph.
pub(super) struct Graph {
    name: &'static str,
    is_of_one_row: bool,
    session: Mutex<Session>,
}

pub(super) type Inputs<'v> = Vec<(Cow<'v, str>, SessionInputValue<'v>)>;

impl Graph {
    pub(super) fn load(
        runtime: &Runtime,
        (name, path): (&'static str, &Path),
        threads: usize,
        inputs: &[Port],
        outputs: &[Port],
    ) -> Result<Self, GraphError> {
        let why = |error: ort::Error| GraphError::Load { graph: name, path: path.into(), why: reason(&error) };
        let session = open(runtime, path, threads).map_err(why)?;
        check_ports(name, "input", inputs, session.inputs())?;
        check_ports(name, "output", outputs, session.outputs())?;
        if let Some(unknown) = session.inputs().iter().find(|found| inputs.iter().all(|port| port.name != found.name()))
        {
            let known = inputs.iter().map(|port| port.name.clone()).collect();
            return Err(GraphError::UnknownInput { graph: name, name: unknown.name().into(), known });
        }
        let is_fixed =
            |found: &Outlet| matches!(found.dtype(), ValueType::Tensor { shape, .. } if shape.first() == Some(&1));
        let batched = |port: &&Port| port.dims.first() == Some(&Dim::Batch);
        let is_of_one_row = inputs
            .iter()
            .filter(batched)
            .any(|port| session.inputs().iter().any(|found| found.name() == port.name && is_fixed(found)));
        Ok(Self { name, is_of_one_row, session: Mutex::new(session) })
    }

    /// Whether the file says that there is one row and never more.
    pub(super) fn is_of_one_row(&self) -> bool {
        self.is_of_one_row
    }

    /// Runs the graph and hands its answers to `read`.
    pub(super) fn run<T>(
        &self,
        inputs: Inputs<'_>,
        read: impl FnOnce(&mut Answers<'_>) -> Result<T, GraphError>,
    ) -> Result<T, GraphError> {
        let mut session = self.session.lock();
        let outputs = session.run(inputs).map_err(|error| self.failed(&error))?;
        read(&mut Answers { graph: self.name, outputs })
    }

    pub(super) fn failed(&self, error: &ort::Error) -> GraphError {
        GraphError::Run { graph: self.name, why: reason(error) }
    }
}

/// What a graph answered.
pub(super) struct Answers<'s> {
    graph: &'static str,
    outputs: SessionOutputs<'s>,
}

impl Answers<'_> {
    /// A copy of an output's values, which must have this shape and no NaN.
    pub(super) fn values(&self, output: &str, shape: &[usize]) -> Result<Vec<f32>, GraphError> {
        self.numbers(output, self.floats(output, shape)?)
    }

    /// The same row by row: one with a NaN does not spoil the others.
    pub(super) fn rows(&self, output: &str, shape: &[usize]) -> Result<Vec<Result<Vec<f32>, GraphError>>, GraphError> {
        let values = self.floats(output, shape)?;
        let width = values.len() / shape.first().copied().unwrap_or(1).max(1);
        Ok(values.chunks_exact(width.max(1)).map(|row| self.numbers(output, row)).collect())
    }

    fn floats(&self, output: &str, shape: &[usize]) -> Result<&[f32], GraphError> {
        let Some(value) = self.outputs.get(output) else {
            return Err(self.absent(output));
        };
        let (found, values) = value
            .try_extract_tensor::<f32>()
            .map_err(|error| GraphError::Run { graph: self.graph, why: reason(&error) })?;
        self.check_shape(output, shape, found)?;
        Ok(values)
    }

    fn numbers(&self, output: &str, values: &[f32]) -> Result<Vec<f32>, GraphError> {
        if values.iter().any(|value| value.is_nan()) {
            return Err(GraphError::NotANumber { graph: self.graph, output: output.into() });
        }
        Ok(values.to_vec())
    }

    /// An output itself, moved out, which must have this shape.
    pub(super) fn take(&mut self, output: &str, shape: &[usize]) -> Result<ort::value::DynValue, GraphError> {
        let Some(value) = self.outputs.remove(output) else {
            return Err(self.absent(output));
        };
        match value.dtype() {
            ValueType::Tensor { ty: TensorElementType::Float32, shape: found, .. } => {
                self.check_shape(output, shape, found)?;
            }
            _ => return Err(self.absent(output)),
        }
        Ok(value)
    }

    fn check_shape(&self, output: &str, expected: &[usize], found: &[i64]) -> Result<(), GraphError> {
        let same =
            expected.len() == found.len() && expected.iter().zip(found).all(|(e, f)| i64::try_from(*e) == Ok(*f));
        if same {
            return Ok(());
        }
        Err(GraphError::Shape {
            graph: self.graph,
            output: output.into(),
            expected: expected.into(),
            found: found.into(),
        })
    }

    fn absent(&self, output: &str) -> GraphError {
        GraphError::NoPort { graph: self.graph, side: "output", name: output.into(), found: vec![] }
    }
}

fn open(runtime: &Runtime, path: &Path, threads: usize) -> ort::Result<Session> {
    let builder = Session::builder(runtime.environment())?.with_log_level(ort::logging::LogLevel::Warning)?;
    let mut builder = on_device(builder.with_intra_threads(threads)?, runtime.device())?;
    builder.commit_from_file(path)
}

#[cfg(feature = "cuda")]
fn on_device(
    builder: ort::session::builder::SessionBuilder,
    device: Device,
) -> ort::Result<ort::session::builder::SessionBuilder> {
    match device {
        Device::Cpu => Ok(builder),
        Device::Cuda(gpu) => {
            // Without this a missing GPU would mean a silent fall to the CPU.
            let provider = ort::ep::CUDA::default().with_device_id(gpu as i32).build().error_on_failure();
            Ok(builder.with_execution_providers([provider])?)
        }
    }
}

/// Without the feature a GPU was refused when the runtime was loaded.
#[cfg(not(feature = "cuda"))]
fn on_device(
    builder: ort::session::builder::SessionBuilder,
    _: Device,
) -> ort::Result<ort::session::builder::SessionBuilder> {
    Ok(builder)
}
