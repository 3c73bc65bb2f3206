//! What a graph's inputs and outputs must be, by the manifest.

use std::fmt;

use ort::value::{Outlet, TensorElementType, ValueType};

use super::error::GraphError;

/// What a dimension must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dim {
    /// Left open by the graph.
    Open(&'static str),
    /// Rows read at once: left open by the graph, or one.
    Batch,
    /// This size, or left open by the graph.
    Is(u32),
}

/// An input or output as it must be.
#[derive(Debug, Clone)]
pub(super) struct Port {
    pub(super) name: String,
    pub(super) element: TensorElementType,
    pub(super) dims: Vec<Dim>,
}

impl Port {
    pub(super) fn f32(name: impl Into<String>, dims: impl Into<Vec<Dim>>) -> Self {
        Self { name: name.into(), element: TensorElementType::Float32, dims: dims.into() }
    }

    pub(super) fn i64(name: impl Into<String>, dims: impl Into<Vec<Dim>>) -> Self {
        Self { name: name.into(), element: TensorElementType::Int64, dims: dims.into() }
    }

    fn allows(&self, found: &ValueType) -> bool {
        let ValueType::Tensor { ty, shape, .. } = found else {
            return false;
        };
        let fits = |(dim, size): (&Dim, &i64)| match dim {
            Dim::Open(_) => *size < 0,
            Dim::Batch => *size < 0 || *size == 1,
            Dim::Is(expected) => *size < 0 || *size == i64::from(*expected),
        };
        *ty == self.element && shape.len() == self.dims.len() && self.dims.iter().zip(shape.iter()).all(fits)
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dims = self.dims.iter().map(|dim| match dim {
            Dim::Open(name) => (*name).to_owned(),
            Dim::Batch => "batch".to_owned(),
            Dim::Is(size) => size.to_string(),
        });
        write!(f, "{} [{}]", self.element, dims.collect::<Vec<_>>().join(", "))
    }
}

/// Holds the inputs or outputs of a graph to what they must be; others may be there too.
pub(super) fn check_ports(
    graph: &'static str,
    side: &'static str,
    expected: &[Port],
    found: &[Outlet],
) -> Result<(), GraphError> {
    for port in expected {
        let Some(outlet) = found.iter().find(|outlet| outlet.name() == port.name) else {
            let found = found.iter().map(|outlet| outlet.name().to_owned()).collect();
            return Err(GraphError::NoPort { graph, side, name: port.name.clone(), found });
        };
        if !port.allows(outlet.dtype()) {
            let (expected, found) = (port.to_string(), outlet.dtype().to_string());
            return Err(GraphError::Port { graph, side, name: port.name.clone(), expected, found });
        }
    }
    Ok(())
}
